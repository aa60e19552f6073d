"""AsyncResult and GroupResult: handles on what becomes of a task and of a group, sync and async."""

import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, cast

from amqtask.core.state import (
    EXCEPTION_STATES,
    FAILED_STATES,
    PENDING,
    REJECTED,
    SUCCESS,
    Progress,
    ResultRef,
    TaskResult,
    progress_of,
    ref_to_json,
)
from amqtask.errors import ResultUnavailable
from amqtask.joining import refuse_inside_task
from amqtask.results.access import ResultAccess
from amqtask.results.base import ResultBackend, Update
from amqtask.results.remote_error import error_of
from amqtask.results.waiting import FinalWatch, aawait_final, afollow, await_final, follow
from amqtask.resultset import ResultSet

if TYPE_CHECKING:
    from amqtask.app import App

R_co = TypeVar("R_co", covariant=True)


class AsyncResult(Generic[R_co]):
    """What becomes of a task. Handles are cheap, and two of one id see the same. Thread-safe.

    Asking for the result of a task that ignores results raises ResultUnavailable at once, and so does waiting for an id
    of which the backend knows that nothing can come.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        access: ResultAccess,
        *,
        name: str = "",
        parent: "Handle | None" = None,
        ignored: bool = False,
    ) -> None:
        self.id = id
        self.parent = parent
        self.ignored = ignored
        self._name = name
        self._access = access
        self._final: TaskResult | None = None

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    # What is known now

    def report(self) -> TaskResult:
        """All that is known of the task now.

        Raises:
            ResultUnavailable: the task ignores results, or nothing keeps them.
            BackendFailed: the store cannot be asked.
        """
        self._refuse_ignored()
        if self._final is not None:
            return self._final
        return self._seen(self._access.backend.latest(self.id) or TaskResult(task_id=self.id, status=PENDING))

    @property
    def task_id(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def state(self) -> str:
        """The task's state; UNKNOWN where the backend knows that nothing can come for this id."""
        return self.report().status

    @property
    def status(self) -> str:
        """The same as `state`."""
        return self.state

    @property
    def result(self) -> object:
        """The return value, the exception of a task that failed, or what the state carries."""
        report = self.report()
        if report.status == SUCCESS:
            return self._value(report)
        if report.status in EXCEPTION_STATES or report.status == REJECTED:
            return error_of(report)
        return report.result

    @property
    def info(self) -> object:
        """The same as `result`."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The text of the traceback where the task ran."""
        return self.report().traceback

    @property
    def name(self) -> str:
        """The task's name, where it is known."""
        return self._name or self.report().name or ""

    @property
    def children(self) -> "list[Handle]":
        """What the task sent while it ran."""
        return [handle(child, self._access) for child in self.report().children]

    def ready(self) -> bool:
        """Whether the task is over."""
        return self.report().is_final

    def successful(self) -> bool:
        """Whether the task returned."""
        return self.report().status == SUCCESS

    def failed(self) -> bool:
        """Whether the task raised, was revoked or was rejected."""
        return self.report().status in FAILED_STATES

    # Waiting

    def get(self, timeout: float | None = None, *, propagate: bool = True, disable_sync_subtasks: bool = True) -> R_co:
        """The return value, as soon as it is there. A failed task's exception is raised.

        With `propagate=False` it is returned instead. `timeout` is seconds; None waits for ever.

        Raises:
            ResultTimeout: it did not come in time.
            TaskFailed: the task raised an exception of a type that is not loaded here; one that is, is raised itself.
            TaskRevoked: the task was revoked.
            ResultUnavailable: no result can come.
            RuntimeError: called within a task, unless `allow_join_result()` or `disable_sync_subtasks=False`.
        """
        if disable_sync_subtasks:
            refuse_inside_task()
        self._refuse_ignored()
        report = self._final or self._seen(await_final(self._access.backend, self._line(), timeout))
        return self.outcome(report, propagate=propagate)

    def wait(self, timeout: float | None = None, *, propagate: bool = True) -> R_co:
        """The same as `get`."""
        return self.get(timeout, propagate=propagate)

    async def aget(self, timeout: float | None = None, *, propagate: bool = True) -> R_co:
        """As `get`, without holding up the event loop."""
        refuse_inside_task()
        self._refuse_ignored()
        report = self._final or self._seen(await aawait_final(self._access.backend, self._line(), timeout))
        return self.outcome(report, propagate=propagate)

    def __await__(self) -> Generator[object, None, R_co]:
        return self.aget().__await__()

    def then(
        self,
        callback: "Callable[[AsyncResult[R_co]], None]",
        on_error: "Callable[[AsyncResult[R_co]], None] | None" = None,
    ) -> "AsyncResult[R_co]":
        """Have `callback` called once the task succeeded, `on_error` once it failed; on a thread of the backend."""

        def decide(update: Update) -> None:
            if isinstance(update, TaskResult) and update.status == SUCCESS:
                callback(self)
            elif on_error is not None:
                on_error(self)

        self.when_over(decide)
        return self

    def when_over(self, settle: Callable[[Update], None]) -> Callable[[], None]:
        """Have `settle` called once, on any thread, with the final report or with why none comes.

        Returns what takes that back.
        """
        self._refuse_ignored()
        if self._final is not None:
            settle(self._final)
            return _nothing

        def hear(update: Update) -> None:
            settle(self._seen(update) if isinstance(update, TaskResult) else update)

        return FinalWatch(self._access.backend, self._line(), hear).cancel

    # Looking on

    def updates(self, timeout: float | None = None) -> Iterator[TaskResult]:
        """The reports as they come, up to the final one; `timeout` bounds the wait for all of them.

        Raises:
            ResultTimeout: the task was not over in time.
        """
        self._refuse_ignored()
        for report in follow(self._access.backend, self.id, timeout):
            yield self._seen(report)

    async def aupdates(self, timeout: float | None = None) -> AsyncIterator[TaskResult]:
        """As `updates`, for `async for`."""
        self._refuse_ignored()
        async for report in afollow(self._access.backend, self.id, timeout):
            yield self._seen(report)

    def progress(self, timeout: float | None = None) -> Iterator[Progress]:
        """What the task says of its progress, until it is over."""
        for report in self.updates(timeout):
            progress = progress_of(report)
            if progress is not None:
                yield progress

    async def aprogress(self, timeout: float | None = None) -> AsyncIterator[Progress]:
        """As `progress`, for `async for`."""
        async for report in self.aupdates(timeout):
            progress = progress_of(report)
            if progress is not None:
                yield progress

    def collect(
        self, timeout: float | None = None, *, propagate: bool = True
    ) -> "Iterator[tuple[AsyncResult[object], object]]":
        """This result and its value, then those of its children and their children, each as soon as it is there."""
        waiting: list[AsyncResult[object]] = [self]
        while waiting:
            result = waiting.pop(0)
            yield result, result.get(timeout, propagate=propagate)
            for child in result.children:
                waiting.extend(child.leaves())

    # Acting

    def forget(self) -> None:
        """Drop what the backend keeps of the task."""
        self._final = None
        self._access.backend.forget(self.id)

    def revoke(self, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
        """Have the task not started, nor those before it in its chain; `terminate` ends with `signal` what runs."""
        before: Handle | None = self
        while before is not None:
            for leaf in before.leaves():
                self._access.revoke(leaf.id, terminate, signal)
            before = before.parent

    def ref(self) -> ResultRef:
        """Where to ask for this result, as a value."""
        return ResultRef(id=self.id, parent=None if self.parent is None else self.parent.ref())

    def as_tuple(self) -> list[object]:
        """Where to ask for this result, in Celery's JSON form."""
        return ref_to_json(self.ref())

    def leaves(self) -> "list[AsyncResult[object]]":
        """The results of single tasks in it: itself."""
        return [self]

    def outcome(self, report: TaskResult, *, propagate: bool) -> R_co:
        """The return value that a final report tells of; an exception is raised, or returned in its place."""
        if report.status == SUCCESS:
            return self._value(report)
        if propagate:
            raise error_of(report)
        return cast("R_co", error_of(report))

    # Inside

    def _line(self) -> list[str]:
        """Its id, then those of the tasks before it, without which it never runs."""
        ids, before = [self.id], self.parent
        while before is not None:
            ids += [before.id] if isinstance(before, AsyncResult) else []
            before = before.parent
        return ids

    def _refuse_ignored(self) -> None:
        if self.ignored:
            raise ResultUnavailable(f"task {self.id} ignores its result; send it with ignore_result=False to wait")

    def _seen(self, report: TaskResult) -> TaskResult:
        if report.is_final and report.task_id == self.id:
            self._final = report
        return report

    def _value(self, report: TaskResult) -> R_co:
        return cast("R_co", self._access.convert(self._name or report.name or "", report.result))


class GroupResult(ResultSet):
    """What becomes of a group: results in order, and an id under which they can be saved and found again."""

    def __init__(
        self,
        results: "Iterable[Handle]" = (),
        *,
        id: str | None = None,  # noqa: A002 - Celery's name
        access: ResultAccess | None = None,
        parent: "Handle | None" = None,
    ) -> None:
        """`id` is what it is saved under, by default a random UUID; `access` is by default that of the members."""
        super().__init__(results)
        self.id = id or str(uuid.uuid4())
        self.parent = parent
        self._access = access or next((leaf._access for leaf in self.leaves()), None)

    @classmethod
    def restore(cls, id: str, *, app: "App") -> "GroupResult | None":  # noqa: A002 - Celery's name
        """The group that was saved under this id, by any process; None if there is none.

        Raises:
            BackendFailed: the store cannot be asked.
            ResultUnavailable: this backend keeps no results.
        """
        access = app.parts.results
        ref = access.backend.restore_group(id)
        saved = None if ref is None else handle(ref, access)
        return saved if isinstance(saved, GroupResult) else None

    def __repr__(self) -> str:
        return f"<GroupResult {self.id} of {len(self.results)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def save(self) -> None:
        """Keep the members' ids under the group's, for `restore`.

        Raises:
            BackendFailed: the store cannot be asked.
            ResultUnavailable: this backend keeps no groups, or there is nothing in this one.
        """
        self._store().save_group(self.ref())

    def delete(self) -> None:
        """Drop what `save` kept."""
        self._store().delete_group(self.id)

    def ref(self) -> ResultRef:
        """Where to ask for this result, as a value."""
        return ResultRef(
            id=self.id,
            parent=None if self.parent is None else self.parent.ref(),
            members=tuple(member.ref() for member in self.results),
        )

    def as_tuple(self) -> list[object]:
        """Where to ask for this result, in Celery's JSON form."""
        return ref_to_json(self.ref())

    def _store(self) -> ResultBackend:
        if self._access is None:
            raise ResultUnavailable(f"the group {self.id} has no members, so there is nothing to keep")
        return self._access.backend

    def _label(self) -> str:
        return self.id


Handle: TypeAlias = AsyncResult[object] | GroupResult


def handle(ref: ResultRef, access: ResultAccess) -> Handle:
    """The handle on what `ref` names."""
    parent = None if ref.parent is None else handle(ref.parent, access)
    if ref.members is None:
        return AsyncResult(ref.id, access, parent=parent)
    return GroupResult((handle(member, access) for member in ref.members), id=ref.id, access=access, parent=parent)


def _nothing() -> None:
    pass
