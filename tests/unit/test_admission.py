"""Admission: which messages run, wait or are dropped."""

from datetime import UTC, datetime, timedelta

import pytest

from amqtask.core.admission import HOLD_LIMIT, NO_DEATHS, Admission, Drop, Run, Wait, admit
from amqtask.core.crashes import Tally
from amqtask.core.headers import CRASHES
from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.outcome import DropReason, Failure, Refused, Revoked, Survived, TooEarly
from amqtask.core.protocol import read_request
from amqtask.core.request import Request
from amqtask.errors import WorkerLost

NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def request(**headers: HeaderValue) -> Request:
    envelope = Envelope(
        body=b"[[],{},{}]",
        headers={"task": "t", "id": "i", **headers},
        content_type="application/json",
        content_encoding="utf-8",
    )
    return read_request(Delivery(envelope, 1, 1, "c", "", "q", False))


def judge(
    revoked: bool = False, deaths: Tally = NO_DEATHS, fail: bool = False, most: int = 3, **headers: HeaderValue
) -> Admission:
    return admit(request(**headers), now=NOW, revoked=revoked, deaths=deaths, max_crashes=most, fail_when_lost=fail)


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


def test_a_message_that_killed_as_many_processes_as_allowed_is_poison() -> None:
    assert judge(**{CRASHES: 2}) == Run()
    assert judge(**{CRASHES: 3}) == Drop(Refused(DropReason.POISON, "3 processes died while they executed it"))
    assert judge(deaths={"a": 2, "b": 1}) == Drop(Refused(DropReason.POISON, "3 processes died while they executed it"))
    assert judge(**{CRASHES: 100}, most=0) == Run()


def test_deaths_that_a_message_does_not_tell_of_yet_are_written_into_it() -> None:
    assert judge(deaths={"a": 1}) == Drop(Survived({"a": 1}))
    assert judge(deaths={"a": 1}, **{CRASHES: 1}) == Run()


def test_a_task_that_must_not_run_again_fails_when_its_process_died() -> None:
    dropped = judge(deaths={"a": 1}, fail=True)
    assert isinstance(dropped, Drop)
    assert isinstance(dropped.outcome, Failure)
    assert isinstance(dropped.outcome.error, WorkerLost)
    assert judge(fail=True) == Run()


def test_a_revoked_message_is_not_sent_again_for_its_deaths() -> None:
    assert judge(revoked=True, deaths={"a": 1}) == Drop(Revoked())
