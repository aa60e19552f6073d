"""Whatever a client sends: the connection goes on or answers with a close, and the broker stays whole."""

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import body, commands, header
from pamqp import frame as pamqp_frame

from amqtask.devbroker import frames
from amqtask.devbroker.errors import NAMES
from amqtask.devbroker.properties import encode
from amqtask.devbroker.tables import Table, Value
from tests.unit.devbroker.rig import START, Client, broker
from tests.unit.devbroker.wire import CAPABLE, HELLO, Wire

LIMITED = {"x-message-ttl": 1000, "x-dead-letter-exchange": "x", "x-max-length": 3}
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 2}
RICH = commands.Basic.Properties(
    headers={"one": 1, "CC": ["q"], "t": {"u": [1, None]}}, expiration="9", priority=3, message_id="m"
)
TRAFFIC = [
    (commands.Connection.StartOk(CAPABLE, "PLAIN", "\0guest\0guest", "en_US"), 0),  # type: ignore[arg-type]
    (commands.Connection.TuneOk(2047, 131072, 30), 0),
    (commands.Connection.Open("/"), 0),
    (commands.Channel.Open(), 1),
    (commands.Channel.Open(), 2),
    (commands.Exchange.Declare(0, "x", "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"}), 1),
    (commands.Exchange.Declare(0, "h", "headers"), 1),
    (commands.Queue.Declare(0, "q", durable=True, arguments=LIMITED), 1),  # type: ignore[arg-type]
    (commands.Queue.Declare(0, "k", durable=True, arguments=QUORUM), 1),  # type: ignore[arg-type]
    (commands.Queue.Declare(0, "s", durable=True, arguments={"x-queue-type": "stream"}), 2),
    (commands.Queue.Bind(0, "q", "x", "a.#", arguments={"n": 1}), 1),
    (commands.Queue.Bind(0, "k", "h", "", arguments={"x-match": "any", "one": 1}), 1),
    (commands.Exchange.Bind(0, "h", "x", "#"), 1),
    (commands.Confirm.Select(), 1),
    (commands.Basic.Qos(0, 2, False), 1),
    (commands.Basic.Consume(0, "k", "ck", arguments={"x-priority": 3}), 1),
    (commands.Basic.Publish(0, "x", "a.b", True), 1),
    (header.ContentHeader(0, 5, RICH), 1),
    (body.ContentBody(b"hello"), 1),
    (commands.Basic.Publish(0, "", "s"), 1),
    (header.ContentHeader(0, 0, commands.Basic.Properties(delivery_mode=2, reply_to="r")), 1),
    (commands.Basic.Get(0, "q"), 2),
    (commands.Basic.Nack(1, False, True), 1),
    (commands.Basic.Ack(1, True), 2),
    (commands.Tx.Select(), 2),
    (commands.Tx.Rollback(), 2),
    (commands.Basic.Cancel("ck"), 1),
    (commands.Queue.Purge(0, "q"), 1),
    (commands.Queue.Delete(0, "k"), 1),
    (commands.Channel.Close(200, "", 0, 0), 1),
    (commands.Connection.Close(200, "", 0, 0), 0),
]
PIECES = [HELLO] + [pamqp_frame.marshal(frame, channel) for frame, channel in TRAFFIC]
WHOLE = b"".join(PIECES)
CODES = {code for code in NAMES if code >= 320}


def check(wire: Wire) -> None:
    """What came back is well-formed, every close has a code that exists, and the broker still works for others."""
    data, position = wire.connection.take(), 0
    while position < len(data) and data != HELLO:
        frame = frames.read(data, position, 0)
        assert frame is not None
        kind, _, payload, position = frame
        method = frames.decode_method(payload) if kind == frames.METHOD else None
        if isinstance(method, commands.Connection.Close | commands.Channel.Close):
            assert method.reply_code in CODES
    wire.connection.lost()
    wire.house.advance(START + 10_000_000)
    wire.house.flush()
    other = Client(wire.house)
    other.declare("still.works")
    other.publish("still.works", "yes")
    assert other.drain("still.works") == ["yes"]


def test_the_traffic_itself_is_right() -> None:
    wire = Wire()
    wire.feed(WHOLE)

    names = [frame.name for _, frame in wire.received()]
    assert "Channel.Close" not in names
    assert "Connection.Close" not in names
    assert names[-1] == "Connection.CloseOk"


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE)), st.lists(st.integers(1, 400), max_size=10))
def test_traffic_cut_anywhere_and_in_any_pieces(end: int, sizes: list[int]) -> None:
    wire, position = Wire(), 0
    for size in sizes:
        wire.feed(WHOLE[position : min(position + size, end)])
        position = min(position + size, end)
    wire.feed(WHOLE[position:end])

    check(wire)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_traffic_with_bytes_changed(data: st.DataObject) -> None:
    mutable = bytearray(WHOLE)
    for position in data.draw(st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=8)):
        mutable[position] = data.draw(st.integers(0, 255))
    wire = Wire()
    wire.feed(bytes(mutable))

    check(wire)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_frames_with_bytes_changed_within_their_payload(data: st.DataObject) -> None:
    """The frames stay whole, so that what is wrong reaches the methods behind them."""
    pieces = list(PIECES)
    for index in data.draw(st.lists(st.integers(4, len(PIECES) - 1), min_size=1, max_size=5)):
        piece = bytearray(pieces[index])
        for position in data.draw(st.lists(st.integers(7, len(piece) - 2), min_size=1, max_size=4)):
            piece[position] = data.draw(st.integers(0, 255))
        pieces[index] = bytes(piece)
    wire = Wire()
    for piece in pieces:
        wire.feed(piece)

    check(wire)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(3, len(PIECES) - 1), st.integers(0, 3)), max_size=40))
def test_frames_in_any_order_on_any_channel(drawn: list[tuple[int, int]]) -> None:
    wire = Wire().open()
    wire.send(commands.Channel.Open(), channel=2)
    for index, channel in drawn:
        piece = PIECES[index]
        wire.feed(piece[:1] + channel.to_bytes(2, "big") + piece[3:])
        wire.house.flush()
        with contextlib.suppress(LookupError):
            wire.house.advance(wire.house.now + 0.5)

    check(wire)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_noise_after_the_handshake(noise: bytes) -> None:
    wire = Wire().open()
    wire.feed(noise)

    check(wire)


@given(st.binary(max_size=40))
def test_noise_instead_of_a_handshake(noise: bytes) -> None:
    wire = Wire()
    wire.feed(noise)

    check(wire)


NAMES_OF_ARGUMENTS = [
    *["x-queue-type", "x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-age"],
    *["x-max-length", "x-max-length-bytes", "x-max-priority", "x-overflow", "x-queue-version", "x-delivery-limit"],
    *["x-single-active-consumer", "x-dead-letter-strategy", "x-consumer-timeout", "x-priority", "x-stream-offset"],
    *[
        "x-delayed-retry-type",
        "x-delayed-retry-min",
        "x-delayed-retry-max",
        "alternate-exchange",
        "x-match",
        "CC",
        "BCC",
    ],
]
odd_values: st.SearchStrategy[Value] = st.one_of(
    st.sampled_from(
        ["classic", "quorum", "stream", "all", "any", "at-least-once", "reject-publish", "first", "1h", "q", ""]
    ),
    st.sampled_from([0, 1, -1, 2**31, 2**62, -(2**62), True, None, 1.5, float("nan"), float("inf"), b"\xff"]),
    st.sampled_from([[], ["q"], [1], {}, {"a": []}]),
)
odd_arguments = st.dictionaries(st.sampled_from(NAMES_OF_ARGUMENTS), odd_values, max_size=5)


@settings(max_examples=60, deadline=None)
@given(odd_arguments, odd_arguments, odd_arguments, st.sampled_from(["3.10", "4.0", "4.3"]), st.booleans())
def test_any_arguments_anywhere(one: Table, two: Table, three: Table, emulate: str, durable: bool) -> None:
    wire = Wire(broker(emulate)).open()
    for number, given_ in enumerate((one, two, three)):
        with contextlib.suppress(ValueError):
            wire.feed(_frame(commands.Exchange.Declare(0, "x", "headers"), given_))
            wire.feed(_frame(commands.Queue.Declare(0, "q", durable=durable), given_))
            wire.feed(_frame(commands.Queue.Bind(0, "q", "x", "k"), given_))
            wire.feed(_frame(commands.Basic.Qos(0, 2), None))
            wire.feed(_frame(commands.Basic.Consume(0, "q", f"c{number}"), given_))
            known = encode({"headers": given_})
            content = struct.pack(">HHQ", 60, 0, 0) + known
            wire.feed(_frame(commands.Basic.Publish(0, "x", "k"), None) + frames.write(frames.HEADER, 1, content))
            wire.feed(_frame(commands.Basic.Nack(0, True, True), None))
            wire.feed(_frame(commands.Channel.CloseOk(), None) + _frame(commands.Channel.Open(), None))
        wire.house.advance(wire.house.now + 100)

    check(wire)


def _frame(method: frames.Method, arguments: Table | None) -> bytes:
    if arguments is not None:
        method.arguments = arguments  # type: ignore[attr-defined]  # those that are given some have them
    return frames.encode_method(method, 1)
