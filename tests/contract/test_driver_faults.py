"""Drivers while their broker is killed, frozen, out of memory or closing connections: on private nodes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amqtask.core.declare import BindQueue, DeclareQueue
from amqtask.core.message import Envelope
from amqtask.drivers.base import Channel, Connection
from amqtask.errors import ConnectionLost, PermissionDenied, VhostUnavailable
from tests.contract.conftest import Rig, on_wires
from tests.support.broker import Node
from tests.support.names import unique
from tests.support.recorder import poll_for, poll_until

pytestmark = on_wires

Use = Callable[[Connection, Channel], object]


@pytest.fixture
def node(rig: Rig) -> Iterator[Node]:
    """The node that the driver talks to, to be broken; it is whole again after the test."""
    if rig.node is None:
        pytest.skip("this test breaks the broker, so it needs an installed rabbitmq-server for a private node")
    yield rig.node
    rig.node.heal()


def keep_polling(connection: Connection, channel: Channel) -> None:
    poll_until(connection, lambda: False)


def keep_publishing(connection: Connection, channel: Channel) -> None:
    while True:
        channel.publish(Envelope(body=b"x" * 1000), "amq.fanout", "", mandatory=False)
        connection.poll(0)


def keep_declaring(connection: Connection, channel: Channel) -> None:
    while True:
        channel.declare(DeclareQueue(name="t.declared", durable=False, exclusive=True))


@pytest.mark.parametrize("use", [keep_polling, keep_publishing, keep_declaring])
def test_a_killed_broker_ends_what_is_done_with_a_lost_connection(rig: Rig, node: Node, use: Use) -> None:
    connection, channel, _ = rig.channel()

    node.kill9()

    with pytest.raises(ConnectionLost) as caught:
        use(connection, channel)
    assert "guest:***@" in str(caught.value)
    connection.close()


@pytest.mark.parametrize("use", [keep_polling, keep_publishing, keep_declaring])
def test_a_frozen_broker_is_noticed_by_its_heartbeat(rig: Rig, node: Node, use: Use) -> None:
    connection, channel, _ = rig.channel(heartbeat=2)

    node.freeze()

    with pytest.raises(ConnectionLost, match="heartbeat"):
        use(connection, channel)


def test_a_broker_that_closes_its_connections_says_why(rig: Rig, node: Node) -> None:
    connection, channel, _ = rig.channel()

    node.close_connections("a test wants it")

    with pytest.raises(ConnectionLost, match="320 CONNECTION_FORCED") as caught:
        keep_polling(connection, channel)
    assert (caught.value.code, "a test wants it" in caught.value.text) == (320, True)


def test_a_connection_shows_its_name_and_what_it_can_do(rig: Rig, node: Node) -> None:
    name = unique("connection")
    rig.connect(name=name)

    assert node.capabilities(name) >= {
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "exchange_exchange_bindings",
        "publisher_confirms",
    }


def test_a_new_connection_opens_after_a_restart_and_finds_what_is_durable(rig: Rig, node: Node) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel, durable=True, exclusive=False, arguments={"x-queue-type": "quorum"})
    rig.fill(connection, channel, sink, queue, 20)

    node.remember_quorum_queues()
    node.kill9()
    node.start()
    again, reader, seen = rig.channel()
    reader.consume(queue, no_ack=False, exclusive=False, arguments={})
    poll_until(again, lambda: len(seen.deliveries) == 20)

    assert seen.bodies == [b"%d" % number for number in range(20)]


def test_an_alarm_blocks_whoever_publishes_until_it_ends(rig: Rig, node: Node) -> None:
    connection, channel, sink = rig.channel()
    queue = rig.queue(channel)

    node.set_alarm()
    channel.publish(Envelope(body=b"waits"), "", queue, mandatory=True)
    poll_until(connection, lambda: connection.blocked)
    assert (connection.blocked, sink.confirms) == ("low on memory", [])

    node.clear_alarm()
    poll_until(connection, lambda: sink.confirms)
    assert connection.blocked is None


def test_a_blocked_connection_lives_on_beyond_its_heartbeat(rig: Rig, node: Node) -> None:
    connection, channel, sink = rig.channel(heartbeat=1)
    queue = rig.queue(channel)

    node.set_alarm()
    channel.publish(Envelope(body=b"waits"), "", queue, mandatory=True)
    poll_until(connection, lambda: connection.blocked)
    poll_for(connection, 4.0)
    node.clear_alarm()

    poll_until(connection, lambda: sink.confirms)


def test_a_missing_permission_names_the_operation_and_its_object(rig: Rig, node: Node) -> None:
    user, vhost = unique("user"), rig.address.vhost
    node.ctl("add_user", user, "secret")
    node.ctl("set_permissions", "-p", vhost, user, "^mine$", "^mine$", "^mine$")
    as_user: dict[str, Any] = {"user": user, "password": "secret"}
    connection, channel, sink = rig.channel(**as_user)

    with pytest.raises(PermissionDenied, match=rf"queue\.declare of 'theirs': 403 .* '{user}'"):
        rig.queue(channel, name="theirs")
    writer = connection.channel(sink, confirms=True)
    rig.queue(writer, name="mine")
    with pytest.raises(PermissionDenied, match=r"queue\.bind of 'mine' to exchange 'amq\.direct' with key 'k': 403"):
        writer.declare(BindQueue(queue="mine", exchange="amq.direct", routing_key="k"))
    writer = connection.channel(sink, confirms=True)
    writer.publish(Envelope(body=b"x"), "amq.topic", "key", mandatory=False)
    poll_until(connection, lambda: sink.errors)
    assert str(sink.errors[0]).startswith("basic.publish: 403 ACCESS_REFUSED")


def test_a_vhost_without_permission_is_named(rig: Rig, node: Node) -> None:
    user = unique("user")
    node.ctl("add_user", user, "secret")

    with pytest.raises(VhostUnavailable, match=f"{rig.address.vhost}' as user '{user}': 530"):
        rig.connect(user=user, password="secret")
