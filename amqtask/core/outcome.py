"""How an execution ended, or why there was none: one value a case."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias


@dataclass(slots=True)
class Success:
    """The task returned. A value like the others; not frozen, because freezing costs a microsecond for each task."""

    value: object
    runtime: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The task raised, or ran over a limit. `expected` errors (`throws`) are logged without their traceback."""

    error: BaseException
    traceback: str = ""
    runtime: float = 0.0
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryWanted:
    """The task is to run again: the next attempt's arguments (None: the same) and when."""

    error: BaseException | None
    countdown: float
    retries: int
    traceback: str = ""
    args: tuple[object, ...] | None = None
    kwargs: dict[str, object] | None = None
    options: dict[str, object] = field(default_factory=dict)
    runtime: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task rejected its message."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task asked that nothing be recorded."""


class DropReason(Enum):
    """Why a message is not executed, and never will be."""

    UNDECODABLE = "undecodable"
    CONTENT_REFUSED = "content-refused"
    MALFORMED = "malformed"
    UNKNOWN_TASK = "unknown-task"
    POISON = "poison"


@dataclass(frozen=True, slots=True)
class Refused:
    """The message cannot be executed by anybody: to the dead letters with the reason."""

    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The task was revoked, or had expired when it came."""

    expired: bool = False
    terminated: bool = False
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The message came long before its time: it is delayed again."""

    eta: datetime


@dataclass(frozen=True, slots=True)
class Survived:
    """Processes died while they executed the message, which it does not say yet: it goes on with the count."""

    tally: Mapping[str, int]


Outcome: TypeAlias = Success | Failure | RetryWanted | Rejected | Ignored | Refused | Revoked | TooEarly | Survived
