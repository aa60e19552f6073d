"""The settlement table: which verdict a delivery gets, and what must be done before it. No other module chooses one.

The effects of a decision are performed in their order, each seen to its end; the verdict is the last act.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from amqtask.core.message import Verdict
from amqtask.core.outcome import (
    Failure,
    Ignored,
    Outcome,
    Refused,
    Rejected,
    RetryWanted,
    Revoked,
    Success,
    Survived,
)
from amqtask.errors import TaskError, TaskRevoked


class Policy(Enum):
    """What becomes of a message whose effect could not be performed, or whose process died."""

    ACK = "ack"
    REQUEUE = "requeue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a task's options, its message and the node say about settling it."""

    acks_late: bool = True
    dead_letter: bool = False
    """A failure sends the message to the dead letters instead of ending it."""
    ignore_result: bool = False
    links: bool = False
    """The message carries callbacks, a chain or a chord."""
    errbacks: bool = False
    chord: bool = False
    """The message, or the end of its chain, is a member of a chord."""
    events: bool = False
    on_effect_failure: Policy = Policy.REQUEUE


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Write the state to the result backend."""

    status: str
    value: object = None
    error: BaseException | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Republish:
    """Publish the message again and see it confirmed: for its next attempt, its proper time, or with its deaths."""

    retry: RetryWanted | None = None
    eta: datetime | None = None
    tally: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Continue:
    """Send what follows on success: links, the rest of the chain."""

    value: object


@dataclass(frozen=True, slots=True)
class CallErrbacks:
    """Send what follows on failure."""

    error: BaseException
    traceback: str


@dataclass(frozen=True, slots=True)
class ReturnPart:
    """Add the result to the chord, and finish it if it was the last."""

    value: object


@dataclass(frozen=True, slots=True)
class FailPart:
    """Tell the chord that a member is never going to have a result."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Emit:
    """Send an event."""

    type: str
    outcome: Outcome


Effect: TypeAlias = StoreResult | Republish | Continue | CallErrbacks | ReturnPart | FailPart | Emit


@dataclass(frozen=True, slots=True)
class Death:
    """What a dead letter says of its end."""

    reason: str
    detail: str
    error_type: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Effects in their order, then the verdict; None where the message was acknowledged before it ran."""

    verdict: Verdict | None
    effects: tuple[Effect, ...] = ()
    death: Death | None = None


DONE = Decision(Verdict.ACK)
DONE_EARLY = Decision(None)


def decide(outcome: Outcome, terms: Terms) -> Decision:
    """The row of the table for this outcome."""
    if isinstance(outcome, Success):
        return _success(outcome, terms)
    if isinstance(outcome, Failure):
        return _failure(outcome, terms)
    if isinstance(outcome, RetryWanted):
        store = () if terms.ignore_result else (_retry_state(outcome),)
        effects = (Republish(retry=outcome), *store, *_events(terms, "task-retried", outcome))
        return Decision(_ack(terms), effects)
    if isinstance(outcome, Rejected):
        told = _events(terms, "task-rejected", outcome)
        if outcome.requeue:
            return Decision(Verdict.REQUEUE if terms.acks_late else None, told)
        stored = () if terms.ignore_result else (StoreResult("REJECTED", value=outcome.reason),)
        left = _leaving(terms, TaskError(f"rejected: {outcome.reason}"))
        verdict = Verdict.DEAD_LETTER if terms.acks_late else None
        return Decision(verdict, (*stored, *left, *told), Death("rejected", outcome.reason))
    if isinstance(outcome, Ignored):
        return DONE if terms.acks_late else DONE_EARLY
    if isinstance(outcome, Refused):
        # Never acknowledged early: whoever mends the sender or the worker finds the message with its reason.
        death = Death(outcome.reason.value, outcome.detail)
        return Decision(Verdict.DEAD_LETTER, _events(terms, "task-rejected", outcome), death)
    if isinstance(outcome, Revoked):
        because = "expired" if outcome.expired else "terminated" if outcome.terminated else "revoked"
        left = _leaving(terms, TaskRevoked(because))
        effects = (StoreResult("REVOKED", value=because), *left, *_events(terms, "task-revoked", outcome))
        return Decision(Verdict.ACK, effects if not terms.ignore_result else effects[1:])
    if isinstance(outcome, Survived):
        return Decision(Verdict.ACK, (Republish(tally=outcome.tally),))
    return Decision(Verdict.ACK, (Republish(eta=outcome.eta),))


def fenced(decision: Decision) -> Decision:
    """What is left to do for a delivery that the broker took back while its task ran.

    Whoever gets the message next settles it and sends what follows; here only the result is told, marked as stale.
    """
    return Decision(None, tuple(effect for effect in decision.effects if isinstance(effect, StoreResult)))


def _success(outcome: Success, terms: Terms) -> Decision:
    if terms.ignore_result and not terms.links and not terms.chord and not terms.events:
        return DONE if terms.acks_late else DONE_EARLY
    effects: list[Effect] = []
    if not terms.ignore_result:
        effects.append(StoreResult("SUCCESS", value=outcome.value))
    if terms.links:
        effects.append(Continue(outcome.value))
    if terms.chord:
        effects.append(ReturnPart(outcome.value))
    effects.extend(_events(terms, "task-succeeded", outcome))
    return Decision(_ack(terms), tuple(effects))


def _failure(outcome: Failure, terms: Terms) -> Decision:
    effects: list[Effect] = []
    if not terms.ignore_result:
        effects.append(StoreResult("FAILURE", error=outcome.error, traceback=outcome.traceback))
    if terms.errbacks:
        effects.append(CallErrbacks(outcome.error, outcome.traceback))
    effects.extend(_leaving(terms, outcome.error))
    effects.extend(_events(terms, "task-failed", outcome))
    if not (terms.dead_letter and terms.acks_late):
        return Decision(_ack(terms), tuple(effects))
    error = outcome.error
    death = Death("failed", str(error), type(error).__qualname__, outcome.traceback)
    return Decision(Verdict.DEAD_LETTER, tuple(effects), death)


def _leaving(terms: Terms, error: BaseException) -> tuple[Effect, ...]:
    return (FailPart(error),) if terms.chord else ()


def _retry_state(outcome: RetryWanted) -> StoreResult:
    return StoreResult("RETRY", error=outcome.error, traceback=outcome.traceback)


def _events(terms: Terms, type_: str, outcome: Outcome) -> tuple[Effect, ...]:
    return (Emit(type_, outcome),) if terms.events else ()


def _ack(terms: Terms) -> Verdict | None:
    return Verdict.ACK if terms.acks_late else None
