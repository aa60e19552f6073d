"""The laws of the driver port (`amqtask/drivers/base.py`), over every driver."""

import logging
import socket
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from amqtask.core.declare import (
    BindExchange,
    BindQueue,
    DeclareExchange,
    DeclareQueue,
    DeleteExchange,
    DeleteQueue,
    PurgeQueue,
    QueueInfo,
    UnbindQueue,
)
from amqtask.core.message import Envelope, HeaderValue, Verdict
from amqtask.errors import (
    AuthenticationFailed,
    BrokerError,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ResourceLocked,
    Unserializable,
    VhostUnavailable,
)
from tests.contract.conftest import Rig, on_wires
from tests.support.names import unique
from tests.support.proxy import Proxy
from tests.support.recorder import Recorder, poll_for, poll_until

pytestmark = pytest.mark.matrix

RICH: dict[str, HeaderValue] = {
    "nothing": None,
    "yes": True,
    "no": False,
    "small": -1,
    "int32": 2**31 - 1,
    "int64": 2**62,
    "least": -(2**63),
    "float": 1.5,
    "text": "grüß Gott ✓",
    "empty": "",
    "octets": b"\x00\xff\xfe",
    "decimal": Decimal("-12.50"),
    "instant": datetime(2026, 11, 20, 21, 4, 5, tzinfo=UTC),
    "array": [1, "two", None, [3.5, [b"\x04"]], {"five": 5}],
    "table": {"deep": {"deeper": {"deepest": [True, None]}}, "": "an empty key"},
}


# 1. Only poll calls a sink


def test_calls_that_read_from_the_socket_keep_deliveries_for_the_next_poll(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})

    channel.publish(Envelope(body=b"kept"), "", queue, mandatory=True)
    # The answers to these come behind the delivery and the confirm.
    for _ in range(5):
        channel.declare(DeclareQueue(name=queue, passive=True))
        channel.qos(1)

    assert sink.order == []
    poll_until(connection, lambda: len(sink.order) == 2)
    assert sink.bodies == [b"kept"]


# 2. publish does not wait for the confirm


@on_wires
def test_publish_returns_while_the_broker_answers_nothing(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, channel, sink = rig.channel(host="127.0.0.1", port=proxy.port)
        queue = rig.queue(channel)

        proxy.stall()
        sequences = [channel.publish(Envelope(body=b"x"), "", queue, mandatory=False) for _ in range(100)]
        connection.poll(0.0)

        assert sequences == list(range(1, 101))
        assert sink.confirms == []
        proxy.heal()
        poll_until(connection, lambda: len(sink.settled_sequences(100)) == 100)
        connection.close()


# 3. Confirms are matched by sequence number


def test_every_one_of_many_pipelined_publishes_is_confirmed_once(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)

    for number in range(1, 1001):
        assert channel.publish(Envelope(body=b"x" * (number % 7)), "", queue, mandatory=True) == number
    poll_until(connection, lambda: len(sink.settled_sequences(1000)) == 1000)

    assert all(sink.settled_sequences(1000).values())
    assert channel.declare(PurgeQueue(name=queue)) == QueueInfo(name=queue, messages=1000, consumers=0)


def test_a_full_queue_refuses_by_sequence_number(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})

    rig.fill(connection, channel, sink, queue, 2)
    third = channel.publish(Envelope(body=b"x"), "", queue, mandatory=True)
    poll_until(connection, lambda: third in sink.settled_sequences(third))

    assert sink.settled_sequences(third) == {1: True, 2: True, 3: False}


def test_an_unroutable_message_comes_back_before_its_confirm(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    message = Envelope(body=b"lost", headers=RICH, content_type="text/plain", message_id="m-1")

    channel.publish(message, "", "t.no.such.queue", mandatory=True)
    poll_until(connection, lambda: sink.confirms)

    assert sink.order == ["returned", "confirmed"]
    assert sink.returns == [(message, 312, "NO_ROUTE", "", "t.no.such.queue")]
    assert sink.confirms == [(1, False, True)]


def test_a_channel_without_confirms_numbers_nothing(rig: Rig) -> None:
    _, channel, _ = rig.channel(confirms=False)

    assert channel.publish(Envelope(body=b"x"), "", rig.queue(channel), mandatory=False) == 0


# 4. poll


def test_a_poll_with_nothing_to_do_returns_in_silence(rig: Rig) -> None:
    connection, _, sink = rig.channel()

    connection.poll(0.0)
    connection.poll(0.3)

    assert sink.order == []


def test_polling_keeps_an_idle_connection_alive_beyond_its_heartbeat(rig: Rig) -> None:
    connection, channel, _ = rig.channel(heartbeat=1)

    # The broker gives a silent client up after two or three heartbeats.
    poll_for(connection, 5.0)

    assert rig.queue(channel)


@on_wires
def test_heartbeats_are_sent_also_while_nothing_comes(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, _, _ = rig.channel(host="127.0.0.1", port=proxy.port, heartbeat=2)

        proxy.deafen()
        before = proxy.from_client
        with pytest.raises(ConnectionLost):
            poll_until(connection, lambda: False)

        assert proxy.from_client > before


def test_what_was_published_leaves_with_the_next_poll(rig: Rig) -> None:
    connection, channel, _ = rig.channel()
    queue = rig.queue(channel, exclusive=False, auto_delete=True)
    other, reader, got = rig.channel()
    reader.consume(queue, no_ack=True, exclusive=False, arguments={})

    channel.publish(Envelope(body=b"x"), "", queue, mandatory=False)
    connection.poll(0.0)

    poll_until(other, lambda: got.bodies == [b"x"])


# 5. Errors


def test_a_wrong_password_is_named_as_such(rig: Rig) -> None:
    with pytest.raises(AuthenticationFailed, match=r"user 'guest' or its password: 403 ACCESS_REFUSED") as caught:
        rig.connect(password="hunter2")

    assert caught.value.code == 403
    assert "hunter2" not in str(caught.value)


def test_a_missing_vhost_is_named(rig: Rig) -> None:
    with pytest.raises(VhostUnavailable, match=r"no access to virtual host 't\.nowhere'") as caught:
        rig.connect(vhost="t.nowhere")

    assert caught.value.code == 530


def test_a_mechanism_that_the_broker_does_not_offer_is_an_authentication_failure(rig: Rig) -> None:
    with pytest.raises(AuthenticationFailed, match="not EXTERNAL"):
        rig.connect(mechanism="EXTERNAL")


@on_wires
def test_a_port_where_nobody_listens_is_a_failed_connection(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(ConnectionFailed, match=r"cannot reach .*refused") as caught:
        rig.connect(host="127.0.0.1", port=port)
    assert isinstance(caught.value.__cause__, OSError)


@on_wires
def test_a_host_name_that_does_not_exist_is_a_failed_connection(rig: Rig) -> None:
    with pytest.raises(ConnectionFailed, match=r"host name 'no-such-host\.invalid' is unknown"):
        rig.connect(host="no-such-host.invalid")


@on_wires
def test_a_peer_that_accepts_and_says_nothing_is_given_up_after_the_time_out(rig: Rig) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ConnectionFailed, match=r"accepted the connection, but .* within 0\.5 s"),
    ):
        rig.connect(host="127.0.0.1", port=server.getsockname()[1], timeout=0.5)


@on_wires
def test_a_peer_that_speaks_another_protocol_is_a_failed_connection(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.recv(100)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionFailed, match=r"not AMQP 0-9-1: it begins with b'HTTP/1\.1'"):
            rig.connect(host="127.0.0.1", port=server.getsockname()[1])
        thread.join()


def test_a_passive_declare_of_a_missing_queue_is_not_found(rig: Rig) -> None:
    _, channel, sink = rig.channel()

    with pytest.raises(NotFound, match=r"queue\.declare of 't\.missing': 404 NOT_FOUND") as caught:
        channel.declare(DeclareQueue(name="t.missing", passive=True))

    assert (caught.value.code, sink.errors) == (404, [])
    assert caught.value.text.startswith("NOT_FOUND - no queue 't.missing'")


def test_a_queue_that_another_connection_holds_is_locked(rig: Rig) -> None:
    _, mine, _ = rig.channel()
    queue = rig.queue(mine)
    _, theirs, _ = rig.channel()

    with pytest.raises(ResourceLocked, match=r"basic\.consume of queue .* 405 RESOURCE_LOCKED"):
        theirs.consume(queue, no_ack=True, exclusive=False, arguments={})


def test_a_declare_that_differs_from_what_exists_fails_its_precondition(rig: Rig) -> None:
    _, channel, _ = rig.channel()
    queue = rig.queue(channel)

    with pytest.raises(PreconditionFailed, match="inequivalent arg 'x-max-length'"):
        rig.queue(channel, name=queue, arguments={"x-max-length": 5})


def test_a_refused_name_is_a_denied_permission(rig: Rig) -> None:
    _, channel, _ = rig.channel()

    with pytest.raises(PermissionDenied, match=r"exchange\.declare of 'amq\.mine': 403 ACCESS_REFUSED"):
        channel.declare(DeclareExchange(name="amq.mine"))


def test_a_closed_channel_says_again_why(rig: Rig) -> None:
    _, channel, _ = rig.channel()
    with pytest.raises(NotFound):
        channel.declare(DeclareQueue(name="t.missing", passive=True))

    with pytest.raises(NotFound, match=r"t\.missing"):
        channel.publish(Envelope(body=b"x"), "", "anywhere", mandatory=False)
    with pytest.raises(NotFound, match=r"t\.missing"):
        channel.qos(1)


def test_a_header_that_amqp_cannot_hold_is_refused_before_anything_is_sent(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)

    with pytest.raises(Unserializable, match="'huge' cannot be sent: the integer needs more than 64 bits"):
        channel.publish(Envelope(body=b"x", headers={"huge": 2**64}), "", queue, mandatory=True)
    with pytest.raises(Unserializable, match="'huge'"):
        rig.queue(channel, arguments={"huge": 2**64})

    rig.fill(connection, channel, sink, queue, 1)
    assert sink.settled_sequences(1) == {1: True}


# 6. Generations


def test_settling_on_a_closed_channel_is_a_logged_no_op(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    rig.fill(connection, channel, sink, queue, 1)
    poll_until(connection, lambda: sink.deliveries)
    old = sink.deliveries[0]
    channel.close()
    again = Recorder()
    new_channel = connection.channel(again, confirms=False)
    new_channel.consume(queue, no_ack=False, exclusive=False, arguments={})

    with caplog.at_level(logging.INFO):
        channel.settle(old.tag, Verdict.ACK)
    poll_until(connection, lambda: again.deliveries)

    assert "is not settled" in caplog.text
    assert old.generation == channel.generation != new_channel.generation == again.deliveries[0].generation
    assert again.deliveries[0].redelivered
    assert (again.bodies, again.errors) == ([b"0"], [])


# 7. Headers and properties


def test_a_message_survives_the_way_through_the_broker(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})
    message = Envelope(
        body=b"\x00body\xce",
        headers=RICH,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=1,
        priority=7,
        correlation_id="correlation",
        reply_to="reply",
        expiration="60000",
        message_id="identity",
        timestamp=1_795_000_000,
        type="type",
        user_id="guest",
        app_id="amqtask",
    )

    channel.publish(message, "amq.direct", "key", mandatory=False)
    channel.declare(BindQueue(queue=queue, exchange="amq.direct", routing_key="k\u00e9y"))
    channel.publish(message, "amq.direct", "k\u00e9y", mandatory=True)
    poll_until(connection, lambda: sink.deliveries)

    (delivery,) = sink.deliveries
    assert delivery.envelope == message
    assert (delivery.exchange, delivery.routing_key, delivery.redelivered) == ("amq.direct", "k\u00e9y", False)
    for key, value in RICH.items():
        assert type(delivery.envelope.headers[key]) is type(value), key


def test_a_bare_message_arrives_without_properties(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})

    channel.publish(Envelope(body=b""), "", queue, mandatory=True)
    poll_until(connection, lambda: sink.deliveries)

    assert sink.deliveries[0].envelope == Envelope(body=b"")


@pytest.mark.parametrize("size", [131_063, 131_064, 131_065, 262_128, 3_000_000])
def test_a_body_of_several_frames_comes_out_whole(rig: Rig, size: int) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})
    body = bytes(range(256)) * (size // 256) + b"e" * (size % 256)

    channel.publish(Envelope(body=body), "", queue, mandatory=True)
    poll_until(connection, lambda: sink.deliveries)

    assert sink.deliveries[0].envelope.body == body


def test_arguments_of_all_types_reach_the_broker(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    exchange = unique("match")
    channel.declare(DeclareExchange(name=exchange, type="headers", durable=False, auto_delete=True))
    wanted: dict[str, HeaderValue] = {"x-match": "all", "n": 2**40, "s": "x", "yes": True, "f": 0.5}
    channel.declare(BindQueue(queue=queue, exchange=exchange, arguments=wanted))
    channel.consume(queue, no_ack=True, exclusive=False, arguments={"x-priority": 3})

    channel.publish(Envelope(body=b"no", headers=wanted | {"n": 5}), exchange, "", mandatory=False)
    channel.publish(Envelope(body=b"yes", headers=wanted), exchange, "", mandatory=True)
    poll_until(connection, lambda: sink.deliveries)

    assert sink.bodies == [b"yes"]


# 8. wake


def test_another_thread_ends_a_long_poll(rig: Rig) -> None:
    connection, _, _ = rig.channel(heartbeat=0)
    ringer = threading.Timer(0.2, connection.wake)

    ringer.start()
    connection.poll(600)

    ringer.join()


def test_a_ring_between_two_polls_or_during_a_call_ends_the_next_poll(rig: Rig) -> None:
    connection, channel, _ = rig.channel(heartbeat=0)

    connection.wake()
    connection.wake()
    connection.poll(600)
    connection.wake()
    rig.queue(channel)
    connection.poll(600)


def test_wake_after_close_does_nothing(rig: Rig) -> None:
    connection = rig.connect()
    connection.close()
    connection.close()

    connection.wake()

    with pytest.raises(ConnectionLost):
        connection.poll(0)


# 10. What the server does to a channel


def test_a_deleted_queue_cancels_its_consumer_and_nothing_else(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    doomed, kept = rig.queue(channel), rig.queue(channel)
    tag = channel.consume(doomed, no_ack=False, exclusive=False, arguments={})
    channel.consume(kept, no_ack=True, exclusive=False, arguments={})

    channel.declare(DeleteQueue(name=doomed))
    poll_until(connection, lambda: sink.cancels)
    channel.publish(Envelope(body=b"on"), "", kept, mandatory=True)
    poll_until(connection, lambda: sink.deliveries)

    assert (sink.cancels, sink.bodies, sink.errors) == ([tag], [b"on"], [])


def test_a_channel_that_the_server_closes_leaves_the_others_alone(rig: Rig) -> None:
    connection, bad, sink = rig.channel()
    good_sink = Recorder()
    good = connection.channel(good_sink, confirms=True)
    queue = rig.queue(good)
    good.consume(queue, no_ack=True, exclusive=False, arguments={})

    bad.publish(Envelope(body=b"x"), "t.no.such.exchange", "key", mandatory=False)
    poll_until(connection, lambda: sink.errors)
    good.publish(Envelope(body=b"on"), "", queue, mandatory=True)
    poll_until(connection, lambda: len(good_sink.order) == 2)

    (error,) = sink.errors
    assert isinstance(error, NotFound)
    assert str(error).startswith("basic.publish: 404 NOT_FOUND - no exchange 't.no.such.exchange'")
    assert (good_sink.bodies, good_sink.errors, sink.confirms) == ([b"on"], [], [])
    with pytest.raises(NotFound):
        bad.publish(Envelope(body=b"x"), "", queue, mandatory=False)


def test_a_tag_that_is_settled_twice_closes_its_channel_only(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    rig.fill(connection, channel, sink, queue, 1)
    poll_until(connection, lambda: sink.deliveries)

    for _ in range(2):
        channel.settle(sink.deliveries[0].tag, Verdict.ACK)
    poll_until(connection, lambda: sink.errors)

    assert isinstance(sink.errors[0], PreconditionFailed)
    assert rig.queue(connection.channel(Recorder(), confirms=False))


# The methods of a channel


@pytest.mark.parametrize("multiple", [False, True])
def test_acknowledged_messages_do_not_come_back(rig: Rig, multiple: bool) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    rig.fill(connection, channel, sink, queue, 10)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    poll_until(connection, lambda: len(sink.deliveries) == 10)

    tags = [delivery.tag for delivery in sink.deliveries]
    if multiple:
        channel.settle(tags[6], Verdict.ACK, multiple=True)
    else:
        for tag in tags[:7]:
            channel.settle(tag, Verdict.ACK)
    channel.close()
    left = connection.channel(Recorder(), confirms=False).declare(PurgeQueue(name=queue))

    assert left is not None
    assert left.messages == 3


def test_requeued_and_handed_back_messages_come_again(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    rig.fill(connection, channel, sink, queue, 4)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    poll_until(connection, lambda: len(sink.deliveries) == 4)

    first, _, third, fourth = sink.deliveries
    channel.settle(first.tag, Verdict.REQUEUE)
    channel.settle(third.tag, Verdict.HAND_BACK, multiple=True)
    channel.settle(fourth.tag, Verdict.HAND_BACK)
    poll_until(connection, lambda: len(sink.deliveries) == 8)

    assert sorted(sink.bodies[4:]) == [b"0", b"1", b"2", b"3"]
    assert all(delivery.redelivered for delivery in sink.deliveries[4:])


def test_a_dead_lettered_message_goes_where_its_queue_says(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    grave = rig.queue(channel)
    queue = rig.queue(channel, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave})
    rig.fill(connection, channel, sink, queue, 1)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    channel.consume(grave, no_ack=True, exclusive=False, arguments={})
    poll_until(connection, lambda: sink.deliveries)

    channel.settle(sink.deliveries[0].tag, Verdict.DEAD_LETTER)
    poll_until(connection, lambda: len(sink.deliveries) == 2)

    death = sink.deliveries[1].envelope.headers["x-death"]
    assert isinstance(death, list)
    assert isinstance(death[0], dict)
    assert (death[0]["reason"], death[0]["queue"], death[0]["count"]) == ("rejected", queue, 1)
    assert isinstance(death[0]["time"], datetime)


def test_a_rejection_of_several_is_refused(rig: Rig) -> None:
    _, channel, _ = rig.channel()

    with pytest.raises(ValueError, match="never multiple"):
        channel.settle(5, Verdict.DEAD_LETTER, multiple=True)


def test_the_prefetch_bounds_what_is_delivered(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    rig.fill(connection, channel, sink, queue, 10)
    channel.qos(3)
    channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    poll_until(connection, lambda: len(sink.deliveries) == 3)

    info = channel.declare(DeclareQueue(name=queue, passive=True))
    assert info is not None
    assert (info.messages, info.consumers, len(sink.deliveries)) == (7, 1, 3)

    channel.settle(sink.deliveries[0].tag, Verdict.ACK)
    poll_until(connection, lambda: len(sink.deliveries) == 4)


def test_a_cancelled_consumer_gets_no_more_and_keeps_what_it_has(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    channel.qos(2)
    tag = channel.consume(queue, no_ack=False, exclusive=False, arguments={})
    rig.fill(connection, channel, sink, queue, 5)
    poll_until(connection, lambda: len(sink.deliveries) == 2)

    channel.cancel(tag)
    for delivery in sink.deliveries:
        channel.settle(delivery.tag, Verdict.ACK)
    info = channel.declare(DeclareQueue(name=queue, passive=True))

    assert info is not None
    assert (info.messages, info.consumers, sink.cancels, len(sink.deliveries)) == (3, 0, [], 2)


def test_exchanges_are_declared_bound_and_deleted(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue, source, inner = rig.queue(channel), unique("source"), unique("inner")
    channel.declare(DeclareExchange(name=source, type="topic", durable=False, arguments={"alternate-exchange": inner}))
    channel.declare(DeclareExchange(name=inner, type="fanout", durable=False, internal=True))
    channel.declare(BindExchange(destination=inner, source=source, routing_key="a.#"))
    channel.declare(BindQueue(queue=queue, exchange=inner))
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})

    channel.publish(Envelope(body=b"bound"), source, "a.b", mandatory=True)
    channel.publish(Envelope(body=b"alternate"), source, "b", mandatory=True)
    poll_until(connection, lambda: len(sink.deliveries) == 2)
    channel.declare(UnbindQueue(queue=queue, exchange=inner))
    channel.publish(Envelope(body=b"unbound"), source, "a.b", mandatory=True)
    poll_until(connection, lambda: sink.returns)
    channel.declare(DeclareExchange(name=source, passive=True))
    for name in (source, inner):
        channel.declare(DeleteExchange(name=name))

    assert sorted(sink.bodies) == [b"alternate", b"bound"]
    with pytest.raises(NotFound, match="no exchange"):
        channel.declare(DeclareExchange(name=source, passive=True))


def test_nobody_publishes_to_an_internal_exchange(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    name = unique("internal")
    channel.declare(DeclareExchange(name=name, internal=True, durable=False))

    channel.publish(Envelope(body=b"x"), name, "", mandatory=False)
    poll_until(connection, lambda: sink.errors)

    assert isinstance(sink.errors[0], PermissionDenied)
    connection.channel(Recorder(), confirms=False).declare(DeleteExchange(name=name))


def test_a_queue_that_the_server_names_tells_its_name(rig: Rig) -> None:
    _, channel, _ = rig.channel()

    assert rig.queue(channel, name="").startswith("amq.gen-")


def test_a_queue_says_how_many_messages_and_consumers_it_has(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    rig.fill(connection, channel, sink, queue, 3)

    assert channel.declare(DeclareQueue(name=queue, passive=True)) == QueueInfo(name=queue, messages=3, consumers=0)
    assert channel.declare(DeleteQueue(name=queue)) == QueueInfo(name=queue, messages=3, consumers=0)


def test_a_closed_channel_gives_its_number_and_its_messages_back(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)
    rig.fill(connection, channel, sink, queue, 100)
    # More than the broker lets a connection have, so numbers must be used again.
    for _ in range(2100):
        connection.channel(Recorder(), confirms=False).close()
    reader = connection.channel(seen := Recorder(), confirms=False)
    reader.consume(queue, no_ack=False, exclusive=False, arguments={})

    reader.close()
    seen.order.clear()
    info = channel.declare(DeclareQueue(name=queue, passive=True))
    connection.poll(0.1)

    assert info is not None
    assert (info.messages, seen.order) == (100, [])
    with pytest.raises(ChannelClosed, match="closed from here"):
        reader.qos(1)


def test_a_connection_names_its_server(rig: Rig) -> None:
    connection = rig.connect()

    assert connection.server.startswith("RabbitMQ ")
    assert connection.server.partition(" ")[2][0].isdigit()
    assert connection.blocked is None


def test_a_sink_may_use_its_channel_and_its_connection(rig: Rig) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)

    class Busy(Recorder):
        def delivered(self, delivery: object) -> None:
            channel.declare(DeclareQueue(name=queue, passive=True))
            self.order.append("declared")

    busy = Busy()
    reader = connection.channel(busy, confirms=False)
    rig.fill(connection, channel, sink, queue, 50)
    reader.consume(queue, no_ack=True, exclusive=False, arguments={})

    poll_until(connection, lambda: len(busy.order) == 50)


# The network


@on_wires
def test_deliveries_that_come_octet_by_octet_are_put_together(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, channel, sink = rig.channel(host="127.0.0.1", port=proxy.port)
        queue = rig.queue(channel)
        channel.consume(queue, no_ack=True, exclusive=False, arguments={})
        # A twentieth of this, 7 octets, is forwarded at a time.
        proxy.slow_down(140)

        channel.publish(Envelope(body=b"patience", headers={"n": 1}), "", queue, mandatory=True)
        poll_until(connection, lambda: len(sink.order) == 2)

        assert sink.bodies == [b"patience"]
        proxy.heal()
        connection.close()


@on_wires
@pytest.mark.parametrize("octets", [1, 5, 8, 30, 64, 65, 120])
def test_a_connection_that_is_cut_within_a_frame_is_lost(rig: Rig, octets: int) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, channel, sink = rig.channel(host="127.0.0.1", port=proxy.port)
        queue = rig.queue(channel)
        channel.consume(queue, no_ack=True, exclusive=False, arguments={})

        proxy.cut_after(octets)
        channel.publish(Envelope(body=b"x" * 200), "", queue, mandatory=True)
        with pytest.raises(ConnectionLost):
            poll_until(connection, lambda: False)

        assert sink.deliveries == []
        for use in (lambda: connection.poll(0), lambda: channel.qos(1), lambda: rig.queue(channel)):
            with pytest.raises(ConnectionLost):
                use()
        with pytest.raises(ConnectionLost):
            channel.publish(Envelope(body=b"x"), "", queue, mandatory=True)
        channel.settle(1, Verdict.ACK)
        channel.close()


@on_wires
def test_a_half_open_connection_is_noticed_by_its_heartbeat(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, _, _ = rig.channel(host="127.0.0.1", port=proxy.port, heartbeat=1)

        proxy.stall()
        with pytest.raises(ConnectionLost, match="heartbeat"):
            poll_until(connection, lambda: False)


@on_wires
def test_a_call_that_is_never_answered_ends_within_the_heartbeat(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        _, channel, _ = rig.channel(host="127.0.0.1", port=proxy.port, heartbeat=1)

        proxy.stall()
        with pytest.raises(ConnectionLost, match="heartbeat"):
            channel.declare(DeclareQueue(name="t.never", exclusive=True))


@on_wires
def test_closing_a_stalled_connection_ends(rig: Rig) -> None:
    with Proxy(rig.address.host, rig.address.port) as proxy:
        connection, _, _ = rig.channel(host="127.0.0.1", port=proxy.port)

        proxy.stall()
        connection.close()


def test_errors_are_ours(rig: Rig) -> None:
    _, channel, _ = rig.channel()

    with pytest.raises(BrokerError) as caught:
        channel.declare(DeclareExchange(name=unique("strange"), type="no-such-type"))

    assert type(caught.value).__module__ == "amqtask.errors"
