"""Who leads: what a beat does with tokens and nudges. The broker is a list of what was said to it."""

import itertools
from typing import cast

import pytest

from amqtask.beat.leader import NUDGE, RENEWAL, TOKEN, Leadership, leader_queue, nudge
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.base import Connection
from amqtask.errors import ConnectionLost
from amqtask.session import NEVER


class Broker:
    """A connection with one channel."""

    def __init__(self) -> None:
        self.published: list[Envelope] = []
        self.acked: list[int] = []

    def channel(self, sink: object, *, confirms: bool) -> "Broker":
        return self

    def declare(self, op: object) -> None: ...

    def qos(self, prefetch: int) -> None: ...

    def consume(self, queue: str, **options: object) -> str:
        return "tag"

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> int:
        assert (exchange, routing_key) == ("", "aqt.beat.shop")
        self.published.append(envelope)
        return 0

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        assert (verdict, multiple) == (Verdict.ACK, False)
        self.acked.append(tag)


class Rig:
    """A beat that stands by."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.heard: list[str] = []
        self.leadership = Leadership(
            leader_queue("shop"),
            elected=lambda connection: self.heard.append("elected"),
            deposed=lambda: self.heard.append("deposed"),
            nudged=lambda: self.heard.append("nudged"),
        )
        self._tags = itertools.count(1)
        self.open()

    def open(self) -> None:
        self.leadership.opened(cast(Connection, self.broker))

    def deliver(self, envelope: Envelope) -> int:
        tag = next(self._tags)
        self.leadership.delivered(Delivery(envelope, tag, 1, "tag", "", "aqt.beat.shop", False))
        return tag

    def token(self) -> int:
        return self.deliver(Envelope(body=b"", type=TOKEN))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_each_beat_brings_a_token(rig: Rig) -> None:
    assert [envelope.type for envelope in rig.broker.published] == [TOKEN]
    assert not rig.leadership.leads


def test_who_gets_a_token_leads_and_holds_it(rig: Rig) -> None:
    rig.token()

    assert rig.leadership.leads
    assert rig.heard == ["elected"]
    assert rig.broker.acked == []


def test_the_first_token_is_changed_for_a_fresh_one(rig: Rig) -> None:
    old = rig.token()
    assert len(rig.broker.published) == 2

    rig.token()

    assert rig.broker.acked == [old]
    assert rig.heard == ["elected"]


def test_of_many_tokens_the_newest_is_held(rig: Rig) -> None:
    *others, _ = [rig.token() for _ in range(5)]

    assert rig.broker.acked == others
    assert rig.heard == ["elected"]


def test_the_token_is_renewed_before_rabbitmq_thinks_it_forgotten(rig: Rig) -> None:
    held = rig.token()
    assert rig.leadership.turn(100.0) == 100.0 + RENEWAL
    before = len(rig.broker.published)

    assert rig.leadership.turn(100.0 + RENEWAL) == 100.0 + 2 * RENEWAL
    rig.token()

    assert len(rig.broker.published) == before + 1
    assert rig.broker.acked == [held]


def test_the_lead_ends_with_the_connection(rig: Rig) -> None:
    rig.token()
    rig.leadership.lost(ConnectionLost())

    assert not rig.leadership.leads
    assert rig.heard == ["elected", "deposed"]
    assert rig.leadership.turn(0.0) == NEVER

    rig.open()
    assert not rig.leadership.leads


def test_nudges_are_heard_by_the_leader_only_and_acknowledged(rig: Rig) -> None:
    early = rig.deliver(nudge())
    rig.token()
    late = rig.deliver(nudge())

    assert rig.heard == ["elected", "nudged"]
    assert rig.broker.acked == [early, late]
    assert nudge().type == NUDGE


def test_a_strangers_message_is_thrown_away(rig: Rig) -> None:
    rig.token()
    tag = rig.deliver(Envelope(body=b"hello"))

    assert rig.heard == ["elected"]
    assert rig.broker.acked == [tag]


def test_a_deleted_queue_ends_the_connection(rig: Rig) -> None:
    with pytest.raises(ConnectionLost, match=r"aqt\.beat\.shop"):
        rig.leadership.cancelled("tag")
