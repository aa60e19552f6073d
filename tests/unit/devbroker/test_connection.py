import pytest
from pamqp import body, commands, header, heartbeat
from pamqp import frame as pamqp_frame

from amqtask.devbroker import frames
from amqtask.devbroker.connection import Phase
from amqtask.devbroker.errors import HardError
from tests.unit.devbroker.rig import broker
from tests.unit.devbroker.wire import CAPABLE, HELLO, Wire

Close = commands.Connection.Close


def content(size: int) -> header.ContentHeader:
    return header.ContentHeader(0, size, commands.Basic.Properties())


def test_a_handshake_offers_what_rabbitmq_offers() -> None:
    wire = Wire()
    wire.feed(HELLO)
    [(channel, start)] = wire.received()
    assert isinstance(start, commands.Connection.Start)
    assert channel == 0
    assert start.mechanisms.split() == ["PLAIN", "AMQPLAIN"]
    assert isinstance(start.server_properties["capabilities"], dict)
    assert set(start.server_properties["capabilities"].values()) == {True}
    assert start.server_properties["version"] == "4.3.6"

    [(_, tune)] = wire.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), channel=0)
    assert isinstance(tune, commands.Connection.Tune)
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)

    wire.send(commands.Connection.TuneOk(0, 0, 30), channel=0)
    assert wire.names(commands.Connection.Open("/"), channel=0) == ["Connection.OpenOk"]
    assert wire.connection.heartbeat == 30


def test_a_handshake_byte_by_byte_is_the_same() -> None:
    whole, pieces = Wire().open(), Wire()
    sent = HELLO + b"".join(
        pamqp_frame.marshal(frame, channel)
        for frame, channel in (
            (commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), 0),
            (commands.Connection.TuneOk(2047, 131072, 0), 0),
            (commands.Connection.Open("/"), 0),
            (commands.Channel.Open(), 1),
            (commands.Queue.Declare(0, "q"), 1),
            (commands.Basic.Publish(0, "", "q"), 1),
            (content(3), 1),
            (body.ContentBody(b"abc"), 1),
        )
    )
    for position in range(len(sent)):
        pieces.feed(sent[position : position + 1])

    assert pieces.connection.phase is whole.connection.phase is Phase.RUNNING
    assert [message.body for message in pieces.house.messages("q")] == [b"abc"]


def test_another_protocol_is_told_which_one_is_spoken_here() -> None:
    wire = Wire()
    wire.feed(b"GET / HTTP/1.1\r\n\r\n")

    assert wire.connection.take() == HELLO
    assert wire.connection.is_done


def test_amqplain_is_understood() -> None:
    wire = Wire()
    wire.feed(HELLO)
    login = "\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest"
    wire.received()

    assert wire.names(commands.Connection.StartOk({}, "AMQPLAIN", login, "en_US"), channel=0) == ["Connection.Tune"]


def test_a_wrong_password_is_refused_with_403_for_those_who_understand_it() -> None:
    for properties, code in ((CAPABLE, 403), ({}, None)):
        wire = Wire()
        wire.feed(HELLO)
        wire.received()
        wire.feed(
            pamqp_frame.marshal(commands.Connection.StartOk(properties, "PLAIN", "\0guest\0no", "en_US"), 0)  # type: ignore[arg-type]
        )
        assert wire.closed_with == code
        assert wire.connection.is_done is (code is None)


def test_an_unknown_virtual_host_is_530() -> None:
    wire = Wire()
    wire.feed(HELLO)
    wire.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), channel=0)
    wire.feed(
        pamqp_frame.marshal(commands.Connection.TuneOk(0, 0, 0), 0)
        + pamqp_frame.marshal(commands.Connection.Open("no"), 0)
    )

    assert wire.closed_with == 530


@pytest.mark.parametrize(
    ("emulate", "frame_max", "code"),
    [("4.0", 4096, None), ("4.0", 4095, 530), ("4.3", 4096, 530), ("4.3", 200_000, 530)],
)
def test_a_frame_size_is_negotiated_within_the_versions_limits(emulate: str, frame_max: int, code: int | None) -> None:
    wire = Wire(broker(emulate))
    wire.feed(HELLO)
    wire.send(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), channel=0)
    wire.feed(pamqp_frame.marshal(commands.Connection.TuneOk(0, frame_max, 0), 0))

    assert wire.closed_with == code


def test_a_client_closes_and_is_answered() -> None:
    wire = Wire().open()

    assert wire.names(Close(200, "bye", 0, 0), channel=0) == ["Connection.CloseOk"]
    assert wire.connection.is_done
    assert wire.house.sessions == {}


def test_the_broker_closes_and_waits_for_the_answer_whatever_comes_before_it() -> None:
    wire = Wire().open()
    wire.connection.close(HardError(320, "shutdown"))
    assert wire.closed_with == 320

    wire.send(commands.Queue.Declare(0, "q"))
    assert not wire.connection.is_done
    wire.send(commands.Connection.CloseOk(), channel=0)
    assert wire.connection.is_done
    assert wire.house.vhost().queues == {}


FRAMES = pamqp_frame.FrameTypes


@pytest.mark.parametrize(
    ("code", "channel", "frames"),
    [
        pytest.param(504, 2, [commands.Queue.Declare(0, "q")], id="a channel that is not open"),
        pytest.param(504, 1, [commands.Channel.Open()], id="a channel that is open already"),
        pytest.param(505, 1, [content(1)], id="a header without a publish"),
        pytest.param(505, 1, [body.ContentBody(b"x")], id="a body without a header"),
        pytest.param(
            505,
            1,
            [commands.Basic.Publish(0, "", "q"), commands.Basic.Publish(0, "", "q")],
            id="a publish without content",
        ),
        pytest.param(
            505, 1, [commands.Basic.Publish(0, "", "q"), body.ContentBody(b"x")], id="a publish with a body only"
        ),
        pytest.param(505, 1, [commands.Basic.Publish(0, "", "q"), content(1), content(1)], id="two headers"),
        pytest.param(
            505, 1, [commands.Basic.Publish(0, "", "q"), content(1), body.ContentBody(b"xx")], id="too long a body"
        ),
        pytest.param(540, 1, [commands.Basic.Publish(0, "", "q", False, True)], id="immediate"),
        pytest.param(540, 1, [commands.Basic.Qos(1, 0, False)], id="a prefetch size"),
        pytest.param(540, 1, [commands.Channel.Flow(False)], id="flow off"),
        pytest.param(540, 1, [commands.Basic.Recover(False)], id="recover without requeue"),
        pytest.param(503, 1, [commands.Exchange.Declare(0, "x", "nonsense")], id="an unknown type of exchange"),
        pytest.param(503, 1, [commands.Basic.GetEmpty()], id="a method that only brokers send"),
        pytest.param(504, 0, [commands.Connection.Open("/")], id="connection.open twice"),
        pytest.param(504, 0, [commands.Queue.Declare(0, "q")], id="a queue on channel 0"),
    ],
)
def test_what_breaks_the_protocol_closes_the_connection(code: int, channel: int, frames: list[FRAMES]) -> None:
    wire = Wire().open()
    wire.feed(b"".join(pamqp_frame.marshal(frame, channel) for frame in frames))

    assert wire.closed_with == code
    assert wire.house.sessions == {}


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (501, b"\x01\x00\x01\x00\x00\x00\x00\xcd"),
        (501, b"\x09\x00\x01\x00\x00\x00\x00\xce"),
        (501, b"\x01\x00\x01\x7f\xff\xff\xff"),
        (501, b"\x08\x00\x00\x00\x00\x00\x01x\xce"),
        (502, b"\x01\x00\x01\x00\x00\x00\x02\x00\x3c\xce"),
        (503, b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x63\xce"),
        (502, b"\x01\x00\x01\x00\x00\x00\x05\x00\x5a\x00\x0a\x01\xce"),
    ],
)
def test_malformed_frames_close_the_connection_with_their_code(code: int, data: bytes) -> None:
    wire = Wire().open()
    wire.feed(data)

    assert wire.closed_with == code


@pytest.mark.parametrize(
    ("code", "method"),
    [
        (404, commands.Queue.Declare(0, "missing", passive=True)),
        (404, commands.Queue.Bind(0, "missing", "amq.direct", "k")),
        (404, commands.Basic.Consume(0, "missing")),
        (403, commands.Queue.Declare(0, "amq.mine")),
        (403, commands.Exchange.Declare(0, "amq.mine")),
        (403, commands.Exchange.Delete(0, "amq.direct")),
        (403, commands.Exchange.Declare(0, "", "direct")),
        (406, commands.Exchange.Declare(0, "amq.direct", "fanout", durable=True)),
        (406, commands.Basic.Ack(7)),
        (406, commands.Tx.Commit()),
        (406, commands.Queue.Declare(0, "q", arguments={"x-expires": 0})),
    ],
)
def test_what_a_client_may_not_do_closes_its_channel_only(code: int, method: FRAMES) -> None:
    wire = Wire().open()
    wire.feed(pamqp_frame.marshal(method, 1))
    assert wire.closed_with == code

    assert wire.names(commands.Queue.Declare(0, "ignored")) == []
    assert wire.names(commands.Channel.CloseOk(), commands.Channel.Open()) == ["Channel.OpenOk"]
    assert wire.names(commands.Queue.Declare(0, "q")) == ["Queue.DeclareOk"]
    assert "ignored" not in wire.house.vhost().queues


def test_a_close_says_which_method_it_was() -> None:
    wire = Wire().open()
    [(_, close)] = wire.send(commands.Basic.Get(0, "missing"))

    assert isinstance(close, commands.Channel.Close)
    assert (close.class_id, close.method_id) == (60, 70)
    assert close.reply_text == "NOT_FOUND - no queue 'missing' in vhost '/'"


def test_a_body_comes_in_pieces_and_goes_out_in_pieces() -> None:
    wire = Wire(broker("4.0")).open(frame_max=4096)
    data = bytes(range(256)) * 64
    wire.send(commands.Queue.Declare(0, "q"), commands.Basic.Publish(0, "", "q"), content(len(data)))
    for start in range(0, len(data), 1000):
        wire.send(body.ContentBody(data[start : start + 1000]))
    frames = [frame for _, frame in wire.send(commands.Basic.Get(0, "q", True))]

    pieces = [frame.value for frame in frames if isinstance(frame, body.ContentBody)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == 4096 - 8


def test_a_message_above_the_versions_size_is_406_before_its_body_comes() -> None:
    wire = Wire(broker("4.0")).open()
    wire.feed(
        pamqp_frame.marshal(commands.Basic.Publish(0, "", "q"), 1) + pamqp_frame.marshal(content(17 * 1024 * 1024), 1)
    )

    assert wire.closed_with == 406


def test_an_answer_comes_before_the_deliveries_that_it_allows() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q"))
    wire.publish("q", b"x")

    assert wire.names(commands.Basic.Consume(0, "q", "c")) == [
        "Basic.ConsumeOk",
        "Basic.Deliver",
        "ContentHeader",
        "ContentBody",
    ]


def test_a_channel_above_the_negotiated_number_is_530() -> None:
    wire = Wire().open()
    wire.feed(pamqp_frame.marshal(commands.Channel.Open(), 2048))

    assert wire.closed_with == 530


def test_names_that_pamqp_would_refuse_are_taken_as_rabbitmq_takes_them() -> None:
    wire = Wire().open()
    name = "a queue: é " + "x" * 200
    declare = commands.Queue.Declare(0, "q")
    declare.queue = name
    wire.feed(frames.encode_method(declare, 1))
    assert wire.connection.phase is Phase.RUNNING

    assert name in wire.house.vhost().queues
    assert name.encode() in wire.connection.take()


def test_no_wait_means_no_answer() -> None:
    wire = Wire().open()

    assert wire.names(commands.Queue.Declare(0, "q", nowait=True), commands.Confirm.Select(True)) == []
    assert wire.publish("q", b"") == ["Basic.Ack"]


def test_what_a_publisher_wrote_reaches_the_consumer_bit_by_bit() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q"))
    table = b"\x01kx\x00\x00\x00\x02\xff\xfe\x01bb\x05\x02\xc3(t\x01"
    odd = b"\x20\x00" + len(table).to_bytes(4, "big") + table
    raw = b"\x00\x3c\x00\x00" + (0).to_bytes(8, "big") + odd
    wire.feed(pamqp_frame.marshal(commands.Basic.Publish(0, "", "q"), 1))
    wire.feed(b"\x02\x00\x01" + len(raw).to_bytes(4, "big") + raw + b"\xce")
    wire.received()
    wire.feed(pamqp_frame.marshal(commands.Basic.Get(0, "q", True), 1))

    assert odd in wire.connection.take()


def test_a_publisher_is_blocked_and_what_it_sends_waits() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q"))
    wire.house.block("low on disk")
    assert wire.received() == []

    wire.publish("q", b"one")
    wire.publish("q", b"two")
    assert not wire.connection.is_reading
    assert wire.house.messages("q") == []

    wire.house.unblock()
    assert wire.connection.is_reading
    wire.feed(b"")
    assert len(wire.house.messages("q")) == 2


def test_a_message_above_the_size_that_a_test_has_set_closes_the_channel() -> None:
    wire = Wire().open()
    wire.house.faults.message_size_max = 3

    assert wire.publish("q", b"abc") == []
    assert wire.publish("q", b"abcd") == ["Channel.Close"]


def test_blocked_and_unblocked_are_told() -> None:
    wire = Wire().open()
    wire.publish("q", b"")
    wire.house.block("low on disk")
    wire.house.unblock()

    assert [frame.name for _, frame in wire.received()] == ["Connection.Blocked", "Connection.Unblocked"]


def test_a_consumer_gets_no_more_while_much_waits_to_be_sent() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q"))
    for _ in range(40):
        wire.publish("q", b"x" * 100_000)
    wire.feed(pamqp_frame.marshal(commands.Basic.Consume(0, "q", "c", no_ack=True), 1))
    assert 1_000_000 < len(wire.connection.take()) < 1_500_000

    wire.connection.drained()
    assert len(wire.connection.take()) > 1_000_000


def test_a_cancelled_consumer_is_told_when_its_queue_is_deleted() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q"), commands.Basic.Consume(0, "q", "c"))

    assert wire.names(commands.Queue.Delete(0, "q")) == ["Basic.Cancel", "Queue.DeleteOk"]


def test_a_secret_is_updated_and_heartbeats_are_taken() -> None:
    wire = Wire().open()

    assert wire.names(commands.Connection.UpdateSecret("new", "old"), channel=0) == ["Connection.UpdateSecretOk"]
    assert wire.names(heartbeat.Heartbeat(), channel=0) == []
    wire.connection.beat()
    assert [frame.name for _, frame in wire.received()] == ["Heartbeat"]


def test_a_transport_that_is_lost_takes_its_session_with_it() -> None:
    wire = Wire().open()
    wire.send(commands.Queue.Declare(0, "q", exclusive=True))
    wire.connection.lost()

    assert wire.house.vhost().queues == {}
    wire.feed(b"more")
    assert wire.connection.is_done


def test_confirms_that_are_decided_go_out_before_the_channel_is_closed() -> None:
    wire = Wire().open()
    wire.send(commands.Confirm.Select())
    wire.feed(
        b"".join(
            pamqp_frame.marshal(frame, 1)
            for frame in (commands.Basic.Publish(0, "", "q"), content(0), commands.Channel.Close(200, "", 0, 0))
        )
    )

    assert [frame.name for _, frame in wire.received()] == ["Basic.Ack", "Channel.CloseOk"]


def test_a_reply_queue_exists_as_long_as_somebody_waits() -> None:
    wire, other = Wire(), None
    wire.open()
    other = Wire(wire.house).open()
    wire.send(commands.Basic.Consume(0, "amq.rabbitmq.reply-to", "c", no_ack=True))
    address = next(iter(wire.house.replies._receivers))
    assert other.names(commands.Queue.Declare(0, address, passive=True)) == ["Queue.DeclareOk"]

    wire.connection.lost()
    other.feed(pamqp_frame.marshal(commands.Queue.Declare(0, address, passive=True), 1))
    assert other.closed_with == 404
