"""States of a task, which of two reports of a task counts, and the report as a value, in Celery's JSON form both ways.

The form is that of Celery's result backends (`celery/backends/base.py`, `_get_result_meta`), so that a Celery client
reads what an amqtask worker stored, and the other way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, TypeGuard

from amqtask.errors import MalformedMessage

PENDING = "PENDING"
"""Published, or not known to be."""
RECEIVED = "RECEIVED"
STARTED = "STARTED"
PROGRESS = "PROGRESS"
RETRY = "RETRY"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
"""The task's message went to the dead letters; nothing comes any more unless somebody sends it again."""
UNKNOWN = "UNKNOWN"
"""The backend knows that no result can come for this id: nobody here published it, or the result was dropped."""

FINAL_STATES = frozenset({SUCCESS, FAILURE, REVOKED, REJECTED})
FAILED_STATES = frozenset({FAILURE, REVOKED, REJECTED})
"""The final states of which `get` raises."""
EXCEPTION_STATES = frozenset({FAILURE, RETRY, REVOKED})
"""States whose result is an exception as data."""

_UNDERWAY_RANKS = {UNKNOWN: 0, PENDING: 0, RECEIVED: 1, STARTED: 2, PROGRESS: 3, RETRY: 4}
_CUSTOM_RANK = 3
_FINAL_RANKS = {REJECTED: 1, REVOKED: 2, FAILURE: 3, SUCCESS: 4}
_RANKS_PER_ATTEMPT = 5
_FINAL_STEP = 10**14
"""More than the milliseconds since the epoch until the year 5138; four of them fit a double exactly, for Lua's sake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRef:
    """Where to ask for a task's result: its id, its parent's, and the members if it is a group.

    In JSON it is Celery's tuple: `[[id, parent], members]`, where parent is such a tuple or null.
    """

    id: str
    parent: "ResultRef | None" = None
    members: "tuple[ResultRef, ...] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What is reported of a task at one moment.

    `result` is the return value of a success, an exception as data in `EXCEPTION_STATES`, and what the state carries
    otherwise. `date_done` is aware and set for final states only.
    """

    task_id: str
    status: str
    result: object = None
    traceback: str | None = None
    children: tuple[ResultRef, ...] = ()
    date_done: datetime | None = None
    parent_id: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    name: str | None = None
    worker: str | None = None
    retries: int = 0
    queue: str | None = None
    stale: bool = False
    """The worker that reports it had lost the message when the task ended: another may report a result of its own."""

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return self.status in FINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running task has come; `total` is None where the task does not know it."""

    current: float
    total: float | None = None
    message: str = ""


def is_final(status: str) -> bool:
    """Whether a task in this state is over."""
    return status in FINAL_STATES


def precedence(result: TaskResult) -> int:
    """A number that orders the reports of one task: one with a smaller number never replaces one with a greater.

    Any final state counts more than any other. Among final ones SUCCESS counts most (a redelivered task that succeeds
    after its first worker was given up), then FAILURE, REVOKED, REJECTED, and of the same state the later. Among the
    others the later attempt counts more, then RECEIVED < STARTED < PROGRESS and custom states < RETRY. It fits 63
    bits, and a double without loss.
    """
    rank = _FINAL_RANKS.get(result.status)
    if rank is not None:
        millis = 0 if result.date_done is None else int(result.date_done.timestamp() * 1000)
        return rank * _FINAL_STEP + max(0, min(millis, _FINAL_STEP - 1))
    underway = _UNDERWAY_RANKS.get(result.status, _CUSTOM_RANK)
    return min(max(result.retries, 0), 10**9) * _RANKS_PER_ATTEMPT + underway


def supersedes(new: TaskResult, old: TaskResult | None) -> bool:
    """Whether `new` replaces `old`: of two that count the same the one that comes last does."""
    return old is None or precedence(new) >= precedence(old)


# Celery's JSON form

JsonRef: TypeAlias = "list[object]"


def ref_to_json(ref: ResultRef) -> JsonRef:
    """The reference as Celery's tuple."""
    parent = None if ref.parent is None else ref_to_json(ref.parent)
    members = None if ref.members is None else [ref_to_json(member) for member in ref.members]
    return [[ref.id, parent], members]


def ref_from_json(data: object) -> ResultRef:
    """The reference of Celery's tuple; a plain id counts as one.

    Raises:
        MalformedMessage: it is neither.
    """
    if isinstance(data, str):
        return ResultRef(id=data)
    if not _is_list(data) or len(data) != 2:
        raise MalformedMessage("a reference to a result is not [[id, parent], members]")
    head, members = data
    if isinstance(head, str):
        head = [head, None]
    if not _is_list(head) or len(head) != 2 or not isinstance(head[0], str):
        raise MalformedMessage("a reference to a result has no id")
    if members is not None and not _is_list(members):
        raise MalformedMessage("the members of a group are not a list")
    return ResultRef(
        id=head[0],
        parent=None if head[1] is None else ref_from_json(head[1]),
        members=None if members is None else tuple(ref_from_json(member) for member in members),
    )


def to_celery(result: TaskResult) -> dict[str, object]:
    """The report in Celery's form; what Celery adds with `result_extended` is there where it is known."""
    data: dict[str, object] = {
        "task_id": result.task_id,
        "status": result.status,
        "result": result.result,
        "traceback": result.traceback,
        "children": [ref_to_json(child) for child in result.children],
        "date_done": None if result.date_done is None else result.date_done.isoformat(),
    }
    for key in _OPTIONAL_TEXTS:
        value = getattr(result, key)
        if value is not None:
            data[key] = value
    if result.retries:
        data["retries"] = result.retries
    if result.stale:
        data["stale"] = True
    return data


def from_celery(data: object) -> TaskResult:
    """The report of Celery's form; unknown keys are passed over.

    Raises:
        MalformedMessage: it is no such report.
    """
    if not isinstance(data, Mapping):
        raise MalformedMessage("a result is not a mapping")
    task_id, status = data.get("task_id"), data.get("status")
    if not isinstance(task_id, str) or not isinstance(status, str):
        raise MalformedMessage("a result has no task id or no status")
    children = data.get("children") or []
    if not _is_list(children):
        raise MalformedMessage("the children of a result are not a list")
    retries = data.get("retries")
    return TaskResult(
        task_id=task_id,
        status=status,
        result=data.get("result"),
        traceback=_text(data, "traceback"),
        children=tuple(ref_from_json(child) for child in children),
        date_done=_date(data.get("date_done")),
        retries=retries if isinstance(retries, int) else 0,
        stale=data.get("stale") is True,
        **{key: _text(data, key) for key in _OPTIONAL_TEXTS},
    )


_OPTIONAL_TEXTS = ("parent_id", "root_id", "group_id", "name", "worker", "queue")


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _text(data: Mapping[str, object], key: str) -> str | None:
    value = data.get(key)
    return None if value is None else str(value)


def _date(value: object) -> datetime | None:
    """Older Celery writes UTC without saying so."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise MalformedMessage(f"the date of a result is not one: {value!r:.60}") from error
    if not isinstance(value, datetime):
        raise MalformedMessage("the date of a result is neither text nor a date")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


# What PROGRESS carries


def progress_to_json(progress: Progress) -> dict[str, object]:
    """What the state PROGRESS carries as its result."""
    return {"current": progress.current, "total": progress.total, "message": progress.message}


def progress_of(result: TaskResult) -> Progress | None:
    """The progress that a report tells of, if it does."""
    data = result.result
    if result.status != PROGRESS or not isinstance(data, Mapping):
        return None
    current, total = data.get("current"), data.get("total")
    if not isinstance(current, int | float):
        return None
    return Progress(
        current=current,
        total=total if isinstance(total, int | float) else None,
        message=str(data.get("message") or ""),
    )
