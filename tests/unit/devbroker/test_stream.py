import pytest

from amqtask.devbroker.errors import HardError, SoftError
from amqtask.devbroker.tables import Timestamp, Value
from tests.unit.devbroker.rig import START, Client, client


def stream(emulate: str = "4.3", **arguments: Value) -> Client:
    it = client(emulate)
    it.declare("s", x_queue_type="stream", **arguments)
    return it


def offsets(it: Client) -> list[object]:
    return [message.headers["x-stream-offset"] for *_, message in it.deliveries]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("first", [0, 1, 2, 3]),
        ("last", [2, 3]),
        ("next", [3]),
        (None, [3]),
        (1, [1, 2, 3]),
        (Timestamp(START + 15), [2, 3]),
        ("15s", [2, 3]),
    ],
)
def test_a_consumer_reads_from_where_it_asks(offset: Value, expected: list[int]) -> None:
    it = stream()
    for number in range(3):
        it.publish("s", str(number))
        it.broker.advance(it.broker.now + 10)
    it.consume("s", prefetch=10, **({} if offset is None else {"x_stream_offset": offset}))
    it.publish("s", "3")

    assert offsets(it) == expected


def test_two_consumers_read_everything_and_nothing_goes_away() -> None:
    it = stream()
    it.publish("s", "a")
    it.consume("s", "one", prefetch=5, x_stream_offset="first")
    it.consume("s", "two", prefetch=5, x_stream_offset="first")
    it.channel.ack(1, multiple=True)

    assert sorted(tag for tag, *_ in it.deliveries) == ["one", "two"]
    assert it.channel.vhost.queue("s").message_count == 1


def test_credit_comes_back_with_each_ack() -> None:
    it = stream()
    for number in range(5):
        it.publish("s", str(number))
    it.consume("s", prefetch=2, x_stream_offset="first")
    assert it.bodies == ["0", "1"]

    it.channel.ack(2, multiple=True)
    assert it.bodies == ["0", "1", "2", "3"]


def test_a_stream_is_cut_by_size_and_by_age() -> None:
    it = stream(x_max_length_bytes=4)
    for body in ("aa", "bb", "cc"):
        it.publish("s", body)
    assert [message.body for message in it.broker.messages("s")] == [b"bb", b"cc"]

    old = stream(x_max_age="10s")
    old.publish("s", "a")
    old.broker.advance(START + 11)
    old.publish("s", "b")
    assert [message.body for message in old.broker.messages("s")] == [b"b"]


def test_a_reader_that_was_overtaken_goes_on_with_the_oldest() -> None:
    it = stream(x_max_length_bytes=2)
    it.publish("s", "aa")
    it.consume("s", prefetch=1, x_stream_offset="first")
    for body in ("bb", "cc"):
        it.publish("s", body)
    it.channel.ack(1)

    assert it.bodies == ["aa", "cc"]


def test_a_long_stream_is_compacted_without_losing_its_place() -> None:
    it = stream(x_max_length_bytes=10)
    for number in range(5000):
        it.publish("s", f"{number:05}")

    assert [message.headers["x-stream-offset"] for message in it.broker.messages("s")] == [4998, 4999]


def test_what_a_stream_does_not_do() -> None:
    it = stream()
    it.channel.qos(5)
    with pytest.raises(HardError):
        it.channel.get("s")
    with pytest.raises(HardError):
        it.channel.vhost.queue("s").purge()
    with pytest.raises(HardError):
        it.channel.consume("s", no_ack=True)
    with pytest.raises(SoftError, match="x-stream-offset"):
        it.channel.consume("s", arguments={"x-stream-offset": "yesterday"})
    it.channel.qos(0)
    with pytest.raises(SoftError, match="prefetch"):
        it.channel.consume("s")


def test_headers_that_are_lists_or_tables_are_not_kept() -> None:
    it = stream()
    it.publish("s", "a", headers={"list": [1], "table": {"a": 1}, "number": 1})
    it.consume("s", prefetch=1, x_stream_offset="first")

    assert it.deliveries[0][3].headers == {"number": 1, "x-stream-offset": 0}


@pytest.mark.parametrize(("emulate", "kept"), [("3.13", {}), ("4.0", {"CC": ["k"], "x-list": [1]})])
def test_annotations_may_be_lists_from_4_0_on(emulate: str, kept: dict[str, Value]) -> None:
    it = stream(emulate)
    it.publish("s", "a", headers={"CC": ["k"], "x-list": [1]})
    it.consume("s", prefetch=1, x_stream_offset="first")

    assert it.deliveries[0][3].headers == {"x-stream-offset": 0, **kept}


@pytest.mark.parametrize("verdict", ["nack", "reject"])
@pytest.mark.parametrize("requeue", [True, False])
def test_what_is_not_acknowledged_but_refused_closes_the_connection_before_4_0(verdict: str, requeue: bool) -> None:
    it = stream("3.13")
    it.publish("s", "a")
    it.consume("s", prefetch=1, x_stream_offset="first")

    with pytest.raises(HardError) as refused:
        getattr(it.channel, verdict)(1, requeue=requeue)
    assert refused.value.code == 540


@pytest.mark.parametrize("verdict", ["nack", "reject"])
@pytest.mark.parametrize("requeue", [True, False])
def test_what_is_refused_counts_as_acknowledged_from_4_0_on(verdict: str, requeue: bool) -> None:
    it = stream("4.0")
    it.publish("s", "a")
    it.publish("s", "b")
    it.consume("s", prefetch=1, x_stream_offset="first")
    getattr(it.channel, verdict)(1, requeue=requeue)

    assert it.bodies == ["a", "b"]


def test_a_stream_is_deleted_whatever_the_conditions_and_says_nothing_of_its_messages() -> None:
    it = stream()
    it.publish("s", "a")
    it.consume("s", prefetch=1)

    assert it.channel.vhost.delete_queue("s", if_unused=True, if_empty=True) == 0
    assert "s" not in it.channel.vhost.queues


@pytest.mark.parametrize(("emulate", "mode"), [("3.13", None), ("4.0", 1)])
def test_a_delivery_mode_that_was_not_given_is_transient_from_4_0_on(emulate: str, mode: int | None) -> None:
    it = client(emulate)
    it.declare("s", x_queue_type="stream")
    it.publish("s", "a")
    it.publish("s", "b", delivery_mode=2)
    it.consume("s", prefetch=2, x_stream_offset="first")

    assert [message.named.get("delivery_mode") for _, _, _, message in it.deliveries] == [mode, 2]
