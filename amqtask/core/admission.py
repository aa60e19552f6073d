"""Admission: what to do with a message that has just come, by its headers alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from amqtask.core.crashes import Tally, total
from amqtask.core.outcome import DropReason, Failure, Outcome, Refused, Revoked, Survived, TooEarly
from amqtask.core.request import Request
from amqtask.errors import WorkerLost

HOLD_LIMIT = 1.5
"""Seconds that a worker holds a message before its time.

The delay tree counts whole seconds; the rest is waited out here.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Execute it now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Execute it in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Do not execute it; settle it by this outcome."""

    outcome: Outcome


Admission: TypeAlias = Run | Wait | Drop

RUN = Run()
NO_DEATHS: Tally = {}


def admit(
    request: Request,
    *,
    now: datetime,
    revoked: bool = False,
    deaths: Tally = NO_DEATHS,
    max_crashes: int = 3,
    fail_when_lost: bool = False,
) -> Admission:
    """What becomes of `request`.

    `deaths` of processes that executed it, as far as this node knows; `fail_when_lost`: the task must not run again
    after one.
    """
    crashes = max(request.crashes, total(deaths))
    if crashes and fail_when_lost:
        return Drop(Failure(WorkerLost("the process that ran the task died"), expected=True))
    if max_crashes and crashes >= max_crashes:
        return Drop(Refused(DropReason.POISON, f"{crashes} processes died while they executed it"))
    if revoked:
        return Drop(Revoked())
    if request.expires is not None and request.expires <= now:
        return Drop(Revoked(expired=True))
    if crashes > request.crashes:
        return Drop(Survived(deaths))
    if request.eta is not None:
        early = (request.eta - now).total_seconds()
        if early > HOLD_LIMIT:
            return Drop(TooEarly(request.eta))
        if early > 0:
            return Wait(early)
    return RUN
