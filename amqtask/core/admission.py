"""Admission: what to do with a message that has just come, by its headers alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from amqtask.core.outcome import DropReason, Outcome, Refused, Revoked, TooEarly
from amqtask.core.request import Request

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


def admit(
    request: Request, *, known: bool, now: datetime, revoked: bool = False, crashes: int = 0, max_crashes: int = 3
) -> Admission:
    """What becomes of `request`. `crashes`: how many processes died while they executed it."""
    if not known:
        return Drop(Refused(DropReason.UNKNOWN_TASK, f"no task {request.task!r} is registered here"))
    if crashes >= max_crashes:
        return Drop(Refused(DropReason.POISON, f"{crashes} processes died while they executed it"))
    if revoked:
        return Drop(Revoked())
    if request.expires is not None and request.expires <= now:
        return Drop(Revoked(expired=True))
    if request.eta is not None:
        early = (request.eta - now).total_seconds()
        if early > HOLD_LIMIT:
            return Drop(TooEarly(request.eta))
        if early > 0:
            return Wait(early)
    return RUN
