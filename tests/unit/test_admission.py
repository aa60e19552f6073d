"""Admission: which messages run, wait or are dropped."""

from datetime import UTC, datetime, timedelta

import pytest

from amqtask.core.admission import HOLD_LIMIT, Admission, Drop, Run, Wait, admit
from amqtask.core.message import Delivery, Envelope
from amqtask.core.outcome import DropReason, Refused, Revoked, TooEarly
from amqtask.core.protocol import read_request
from amqtask.core.request import Request

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def request(**headers: str) -> Request:
    envelope = Envelope(
        body=b"[[],{},{}]",
        headers={"task": "t", "id": "i", **headers},
        content_type="application/json",
        content_encoding="utf-8",
    )
    return read_request(Delivery(envelope, 1, 1, "c", "", "q", False))


def judge(known: bool = True, revoked: bool = False, crashes: int = 0, **headers: str) -> Admission:
    return admit(request(**headers), known=known, now=NOW, revoked=revoked, crashes=crashes)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def test_an_ordinary_message_runs() -> None:
    assert judge() == Run()


def test_a_message_whose_time_has_come_runs() -> None:
    assert judge(eta=at(-5), expires=at(5)) == Run()


def test_the_last_fraction_of_a_delay_is_waited_out() -> None:
    assert judge(eta=at(0.75)) == Wait(0.75)


def test_a_message_far_before_its_time_is_delayed_again() -> None:
    assert judge(eta=at(HOLD_LIMIT + 0.5)) == Drop(TooEarly(NOW + timedelta(seconds=HOLD_LIMIT + 0.5)))


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_expired_message_is_dropped_as_such(seconds: float) -> None:
    assert judge(expires=at(seconds)) == Drop(Revoked(expired=True))


def test_a_revoked_message_is_dropped() -> None:
    assert judge(revoked=True) == Drop(Revoked())


def test_an_unknown_task_is_refused_by_its_name() -> None:
    assert judge(known=False) == Drop(Refused(DropReason.UNKNOWN_TASK, "no task 't' is registered here"))


def test_a_message_that_killed_as_many_processes_as_allowed_is_poison() -> None:
    assert judge(crashes=2) == Run()
    assert judge(crashes=3) == Drop(Refused(DropReason.POISON, "3 processes died while they executed it"))
