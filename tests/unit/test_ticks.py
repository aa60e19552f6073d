"""How a worker asks for a tick, and what it does without an answer. The channel and the clock are the test's."""

import itertools
import json
from typing import cast

import pytest

from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.core.tick import CLAIMS
from amqtask.drivers.base import Connection
from amqtask.errors import ChannelClosed, ConnectionLost, PreconditionFailed
from amqtask.session import NEVER
from amqtask.ticket import Ticket
from amqtask.worker.ticks import INSISTENCE, PATIENCE, PAUSE, RETRY_DELAY, Ticks


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class Stream:
    """A connection whose only channel is that of the stream."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.settled: list[int] = []
        self.channels = 0
        self.error: ChannelClosed | None = None

    def channel(self, sink: object, *, confirms: bool) -> "Stream":
        self.channels += 1
        return self

    def declare(self, op: object) -> None:
        if self.error is not None:
            raise self.error

    def qos(self, prefetch: int) -> None: ...

    def consume(self, queue: str, **options: object) -> str:
        assert queue == CLAIMS
        return "tag"

    def take(self, ticket: Ticket) -> None:
        assert (ticket.exchange, ticket.routing_key) == ("", CLAIMS)
        self.published.append(ticket.envelope.body)

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        self.settled.append(tag)


class Rig:
    """A worker's ticks on a stream."""

    def __init__(self) -> None:
        self.clock, self.stream = HandClock(), Stream()
        self.ticks = Ticks(self.clock, lambda: None, self.stream.take)
        self.answers: dict[str, bool] = {}
        self._tags = itertools.count(1)
        self.ticks.opened(cast(Connection, self.stream))

    def claim(self, copy: str, tick: str = "tick", queue: str = "lo") -> None:
        def then(may_run: bool) -> None:
            assert copy not in self.answers, "answered twice"
            self.answers[copy] = may_run

        self.ticks.claim(tick, queue, copy, then)

    def turn(self, seconds: float = 0.0) -> float:
        self.clock.now += seconds
        due = self.ticks.turn(self.clock.now)
        return due if due == NEVER else due - self.clock.now

    def deliver(self, body: bytes) -> None:
        self.ticks.delivered(Delivery(Envelope(body=body), next(self._tags), 1, "tag", "", CLAIMS, False))

    def echo(self) -> None:
        """The stream gives back what was written to it."""
        written, self.stream.published = self.stream.published, []
        for body in written:
            self.deliver(body)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_nothing_is_opened_before_the_first_tick(rig: Rig) -> None:
    assert rig.turn() == NEVER
    assert rig.stream.channels == 0


def test_a_tick_that_is_claimed_first_runs(rig: Rig) -> None:
    rig.claim("a")
    rig.turn()
    assert rig.answers == {}

    rig.echo()

    assert rig.answers == {"a": True}
    assert rig.turn() == NEVER


def test_of_two_copies_here_the_first_runs(rig: Rig) -> None:
    rig.claim("a")
    rig.claim("b")
    rig.turn()
    rig.echo()

    assert rig.answers == {"a": True, "b": False}


def test_a_copy_that_was_claimed_elsewhere_does_not_run(rig: Rig) -> None:
    rig.claim("b")
    rig.turn()
    rig.deliver(json.dumps(["tick", "lo", "a"]).encode())
    rig.echo()

    assert rig.answers == {"b": False}


@pytest.mark.parametrize("body", [b"", b"\xff", b"1", b'["tick"]', b'["tick", "lo", 1]'])
def test_a_strangers_message_is_passed_over(rig: Rig, body: bytes) -> None:
    rig.claim("a")
    rig.turn()
    rig.deliver(body)
    rig.echo()

    assert rig.answers == {"a": True}


def test_a_tick_whose_claim_is_not_answered_runs_after_a_while(rig: Rig) -> None:
    rig.claim("a")
    assert rig.turn() == PATIENCE
    rig.turn(PATIENCE - 1)
    assert rig.answers == {}

    rig.turn(1)

    assert rig.answers == {"a": True}


def test_a_stream_that_is_being_made_is_tried_again(rig: Rig) -> None:
    rig.stream.error = PreconditionFailed("does not have a replica on the local node")
    rig.claim("a")
    assert rig.turn() == pytest.approx(RETRY_DELAY)

    rig.stream.error = None
    rig.turn(RETRY_DELAY)
    rig.echo()

    assert rig.answers == {"a": True}


def test_without_a_stream_ticks_run_unclaimed_and_it_is_not_asked_for_again_at_once(rig: Rig) -> None:
    rig.stream.error = PreconditionFailed()
    rig.claim("a")
    waited = 0.0
    while "a" not in rig.answers:
        waited += RETRY_DELAY
        rig.turn(RETRY_DELAY)
    assert waited == pytest.approx(INSISTENCE, abs=2 * RETRY_DELAY)
    channels = rig.stream.channels

    rig.claim("b")
    rig.turn()
    assert rig.answers == {"a": True, "b": True}
    assert rig.stream.channels == channels

    rig.stream.error = None
    rig.clock.now += PAUSE
    rig.claim("c")
    rig.turn()
    rig.echo()
    assert rig.answers["c"]
    assert rig.stream.channels == channels + 1


def test_a_stream_that_is_deleted_keeps_no_tick_waiting(rig: Rig) -> None:
    rig.claim("a")
    rig.turn()
    rig.ticks.cancelled("tag")

    assert rig.answers == {"a": True}


def test_what_waits_is_void_when_the_connection_goes(rig: Rig) -> None:
    rig.claim("a")
    rig.turn()
    rig.ticks.lost(ConnectionLost())

    rig.echo()
    assert rig.answers == {}
    assert rig.turn(2 * PATIENCE) == NEVER
    assert rig.answers == {}


def test_what_was_read_is_acknowledged_in_the_same_turn(rig: Rig) -> None:
    rig.claim("a")
    rig.turn()
    for number in range(3):
        rig.deliver(json.dumps([f"tick-{number}", "lo", "a"]).encode())
    assert rig.stream.settled == []

    rig.turn()
    rig.turn()

    assert rig.stream.settled == [3]
