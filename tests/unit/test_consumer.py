"""When a consumer tells the broker what is decided. The channel is the test's, and time goes when it is told to."""

from typing import cast

from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.base import Connection
from amqtask.session import NEVER
from amqtask.worker.consumer import RESUBSCRIBE_DELAY, TAKEN_WITHIN, Consumer, Subscription


class Wire:
    """A connection with one channel, which writes down what is settled: tag, verdict, multiple."""

    generation = 7

    def __init__(self) -> None:
        self.settled: list[tuple[int, Verdict, bool]] = []
        self.consumed: list[str] = []

    def channel(self, sink: object, *, confirms: bool) -> "Wire":
        return self

    def qos(self, prefetch: int) -> None: ...

    def consume(self, queue: str, **options: object) -> str:
        self.consumed.append(queue)
        return f"{queue}-tag"

    def cancel(self, consumer_tag: str) -> None: ...

    def declare(self, op: object) -> None: ...

    def close(self) -> None: ...

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        self.settled.append((tag, verdict, multiple))


class Scene:
    """A consumer that holds so many deliveries, and told of another one at 100.0."""

    def __init__(self, *, prefetch: int, held: int, ack_batch: int = 10, slots: int = 1) -> None:
        self.wire = Wire()
        self.woken = 0
        self.held: list[Delivery] = []
        self.consumer = Consumer(
            [Subscription(queue="work", prefetch=prefetch)],
            receive=lambda delivery, queue: self.held.append(delivery),
            wake=self._wake,
            ack_batch=ack_batch,
            ack_delay=0.05,
            slots=slots,
        )
        self.consumer.opened(cast(Connection, self.wire))
        for tag in range(held + 1):
            self.consumer.delivered(Delivery(Envelope(body=b""), tag, Wire.generation, "work-tag", "", "work", False))
        self.ack(0)
        self.consumer.turn(100.0)
        self.wire.settled.clear()
        self.woken = 0

    def _wake(self) -> None:
        self.woken += 1

    def ack(self, *tags: int) -> None:
        for tag in tags:
            self.consumer.settle(self.held[tag], Verdict.ACK)


def test_acknowledgements_wait_for_a_batch_and_go_as_one() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.ack(*range(1, 10))
    assert scene.woken == 0
    assert scene.consumer.turn(100.01) < NEVER
    assert scene.wire.settled == []
    scene.ack(10)
    assert scene.woken == 1
    scene.consumer.turn(100.02)
    assert scene.wire.settled == [(10, Verdict.ACK, True)]


def test_a_batch_is_at_most_a_quarter_of_the_prefetch_so_that_the_broker_goes_on_sending() -> None:
    scene = Scene(prefetch=8, held=8)
    assert scene.consumer.batch == 2
    scene.ack(1)
    assert scene.woken == 0
    scene.ack(2)
    assert scene.woken == 1
    assert Scene(prefetch=1, held=1).consumer.batch == 1


def test_what_is_decided_is_told_after_the_ack_delay_without_a_batch() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.ack(1)
    due = scene.consumer.turn(100.03)
    assert due <= 100.05
    scene.consumer.turn(due)
    assert scene.wire.settled == [(1, Verdict.ACK, False)]


def test_who_settles_at_once_has_the_whole_batch_told_at_once() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.ack(1, 2)
    scene.consumer.settle(scene.held[3], Verdict.ACK, at_once=True)
    assert scene.woken == 1
    scene.consumer.turn(100.001)
    assert scene.wire.settled == [(3, Verdict.ACK, True)]


def test_messages_that_go_back_wait_for_nothing() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.consumer.settle(scene.held[1], Verdict.HAND_BACK)
    assert scene.woken == 1
    scene.consumer.turn(100.001)
    assert scene.wire.settled == [(1, Verdict.HAND_BACK, False)]


def test_a_consumer_that_stops_or_pauses_tells_what_is_decided() -> None:
    stopped, paused = Scene(prefetch=40, held=40), Scene(prefetch=40, held=40)
    for scene in (stopped, paused):
        scene.ack(1)
    stopped.consumer.stop()
    paused.consumer.pause()
    for scene in (stopped, paused):
        scene.consumer.turn(100.001)
        assert scene.wire.settled == [(1, Verdict.ACK, False)]


def test_the_io_thread_is_woken_once_a_turn() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.ack(*range(1, 21))
    assert scene.woken == 1
    scene.consumer.turn(100.001)
    scene.ack(*range(21, 31))
    assert scene.woken == 2


def test_the_channel_stays_open_until_the_broker_has_taken_the_last_acknowledgements() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.ack(1)
    scene.consumer.stop()
    scene.consumer.turn(200.0)
    assert scene.wire.settled == [(1, Verdict.ACK, False)]

    assert scene.consumer.unsure(200.0) == TAKEN_WITHIN
    assert scene.consumer.unsure(200.0 + TAKEN_WITHIN) == 0.0


def test_a_consumer_that_the_server_cancels_while_it_is_paused_comes_back_once_and_when_it_is_resumed() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.wire.consumed.clear()
    scene.consumer.cancelled("work-tag")
    scene.consumer.pause()
    scene.consumer.turn(101.0)
    scene.consumer.turn(101.0 + RESUBSCRIBE_DELAY)
    assert scene.wire.consumed == [], "a paused consumer takes nothing"
    scene.consumer.resume()
    assert scene.wire.consumed == ["work"]


def test_a_queue_that_is_looked_for_is_not_consumed_before_it_is_found() -> None:
    scene = Scene(prefetch=40, held=40)
    scene.wire.consumed.clear()
    scene.consumer.pause()
    scene.consumer.turn(101.0)
    scene.consumer.resume()
    scene.consumer.cancelled("work-tag")
    scene.consumer.turn(102.0)
    scene.consumer.pause()
    scene.consumer.resume()
    assert scene.wire.consumed == ["work"]
    scene.consumer.turn(102.0 + RESUBSCRIBE_DELAY)
    assert scene.wire.consumed == ["work", "work"]


def test_what_is_overdue_is_void_where_its_consumer_was_cancelled_from_here_so_that_the_broker_tells_nothing() -> None:
    scene = Scene(prefetch=40, held=40)
    first, second = scene.held[1:3]
    scene.consumer.overdue(first)
    assert not scene.consumer.is_void(first), "the broker would cancel the consumer"
    scene.consumer.pause()
    assert not scene.consumer.is_void(first)
    scene.consumer.overdue(first)
    assert scene.consumer.is_void(first)
    assert not scene.consumer.is_void(second)
