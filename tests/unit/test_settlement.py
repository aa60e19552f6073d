"""The settlement table, row by row."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.message import Verdict
from amqtask.core.outcome import (
    DropReason,
    Failure,
    Ignored,
    Outcome,
    Refused,
    Rejected,
    RetryWanted,
    Revoked,
    Success,
    TooEarly,
)
from amqtask.core.settlement import CallErrbacks, Continue, Death, Emit, Republish, StoreResult, Terms, decide

ERROR = ValueError("no")
SOON = datetime(2030, 1, 1, tzinfo=UTC)
RETRY = RetryWanted(error=ERROR, countdown=1.0, retries=1)

OUTCOMES: dict[str, Outcome] = {
    "success": Success(1),
    "failure": Failure(ERROR, "trace"),
    "retry": RETRY,
    "rejected": Rejected("why", requeue=False),
    "requeued": Rejected("why", requeue=True),
    "ignored": Ignored(),
    "refused": Refused(DropReason.UNDECODABLE, "broken"),
    "revoked": Revoked(),
    "too early": TooEarly(SOON),
}


def effects(outcome: Outcome, terms: Terms) -> list[str]:
    return [type(effect).__name__ for effect in decide(outcome, terms).effects]


@pytest.mark.parametrize(
    ("name", "late", "early"),
    [
        ("success", Verdict.ACK, None),
        ("failure", Verdict.ACK, None),
        ("retry", Verdict.ACK, None),
        ("rejected", Verdict.DEAD_LETTER, None),
        ("requeued", Verdict.REQUEUE, None),
        ("ignored", Verdict.ACK, None),
        ("refused", Verdict.DEAD_LETTER, Verdict.DEAD_LETTER),
        ("revoked", Verdict.ACK, Verdict.ACK),
        ("too early", Verdict.ACK, Verdict.ACK),
    ],
)
def test_each_outcome_has_its_verdict(name: str, late: Verdict, early: Verdict | None) -> None:
    assert decide(OUTCOMES[name], Terms()).verdict is late
    assert decide(OUTCOMES[name], Terms(acks_late=False)).verdict is early


def test_a_success_stores_its_result_then_goes_on_then_tells() -> None:
    assert effects(Success(1), Terms(links=True, events=True)) == ["StoreResult", "Continue", "Emit"]


def test_a_success_whose_result_nobody_wants_has_no_effect() -> None:
    assert effects(Success(1), Terms(ignore_result=True)) == []


def test_links_are_followed_even_when_the_result_is_ignored() -> None:
    assert effects(Success(1), Terms(ignore_result=True, links=True)) == ["Continue"]


def test_a_failure_stores_its_error_then_calls_the_errbacks() -> None:
    decision = decide(Failure(ERROR, "trace"), Terms(errbacks=True, events=True))
    assert [type(effect) for effect in decision.effects] == [StoreResult, CallErrbacks, Emit]
    assert decision.effects[0] == StoreResult("FAILURE", error=ERROR, traceback="trace")


def test_a_failure_that_asks_for_it_is_a_dead_letter_that_says_why() -> None:
    decision = decide(Failure(ERROR, "trace"), Terms(dead_letter=True))
    assert decision.verdict is Verdict.DEAD_LETTER
    assert decision.death == Death("failed", "no", "ValueError", "trace")


def test_a_failure_that_was_acknowledged_early_cannot_be_a_dead_letter() -> None:
    assert decide(Failure(ERROR), Terms(dead_letter=True, acks_late=False)).verdict is None


def test_a_retry_is_published_before_anything_else() -> None:
    assert effects(RETRY, Terms(events=True)) == ["Republish", "StoreResult", "Emit"]


def test_a_message_that_came_too_early_is_only_delayed_again() -> None:
    assert decide(TooEarly(SOON), Terms(events=True)).effects == (Republish(eta=SOON),)


def test_a_task_that_rejects_its_message_stores_why_unless_it_comes_again() -> None:
    decision = decide(Rejected("why", requeue=False), Terms(events=True))
    assert [type(effect) for effect in decision.effects] == [StoreResult, Emit]
    assert decision.effects[0] == StoreResult("REJECTED", value="why")
    assert effects(Rejected("why", requeue=False), Terms(ignore_result=True)) == []
    assert effects(Rejected("why", requeue=True), Terms(events=True)) == ["Emit"]


def test_a_revoked_task_stores_that_unless_results_are_ignored() -> None:
    assert effects(Revoked(), Terms(events=True)) == ["StoreResult", "Emit"]
    assert effects(Revoked(), Terms(events=True, ignore_result=True)) == ["Emit"]


@given(
    outcome=st.sampled_from(list(OUTCOMES.values())),
    terms=st.builds(
        Terms,
        acks_late=st.booleans(),
        dead_letter=st.booleans(),
        ignore_result=st.booleans(),
        links=st.booleans(),
        errbacks=st.booleans(),
        events=st.booleans(),
    ),
)
def test_every_decision_is_whole(outcome: Outcome, terms: Terms) -> None:
    decision = decide(outcome, terms)
    if terms.acks_late:
        assert decision.verdict is not None, "a delivery that is not acknowledged yet gets a verdict"
    assert (decision.death is not None) <= (decision.verdict in (Verdict.DEAD_LETTER, None))
    kinds = [type(effect) for effect in decision.effects]
    assert len(kinds) == len(set(kinds)), "no effect twice"
    assert kinds.index(Emit) == len(kinds) - 1 if Emit in kinds else True, "telling others comes last"
    if not terms.events:
        assert Emit not in kinds
    if Continue in kinds:
        assert isinstance(outcome, Success)
