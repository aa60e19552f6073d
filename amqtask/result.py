"""AsyncResult and GroupResult: handles on what becomes of tasks, sync and async."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar, cast

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
from amqtask.results.base import Update
from amqtask.results.completions import Completions, EndOfAll
from amqtask.results.remote_error import error_of
from amqtask.results.waiting import FinalWatch, aawait_final, afollow, await_final, follow

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


class GroupResult:
    """What becomes of a group: its members in order, which may be groups themselves."""

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        results: "Sequence[Handle]",
        access: ResultAccess,
        *,
        parent: "Handle | None" = None,
    ) -> None:
        self.id = id
        self.results = list(results)
        self.parent = parent
        self._access = access

    @classmethod
    def restore(cls, id: str, access: ResultAccess) -> "GroupResult | None":  # noqa: A002 - Celery's name
        """The group that was saved under this id."""
        ref = access.backend.restore_group(id)
        return None if ref is None else cls(id, [handle(member, access) for member in ref.members or ()], access)

    def __repr__(self) -> str:
        return f"<GroupResult {self.id} of {len(self.results)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> "Iterator[Handle]":
        return iter(self.results)

    def __getitem__(self, index: int) -> "Handle":
        return self.results[index]

    @property
    def children(self) -> "list[Handle]":
        """The members."""
        return self.results

    def leaves(self) -> list[AsyncResult[object]]:
        """The results of single tasks in it and in the groups in it."""
        return [leaf for member in self.results for leaf in member.leaves()]

    def completed_count(self) -> int:
        """How many members succeeded."""
        return sum(member.successful() for member in self.results)

    def waiting(self) -> bool:
        """Whether any member is not over."""
        return not self.ready()

    def ready(self) -> bool:
        """Whether all members are over."""
        return all(member.ready() for member in self.results)

    def successful(self) -> bool:
        """Whether all members succeeded."""
        return all(member.successful() for member in self.results)

    def failed(self) -> bool:
        """Whether any member failed."""
        return any(member.failed() for member in self.results)

    def get(
        self, timeout: float | None = None, *, propagate: bool = True, disable_sync_subtasks: bool = True
    ) -> list[object]:
        """The members' return values in their order, once all are there; the first failure is raised as it comes.

        With `propagate=False` exceptions take their members' places. `timeout` bounds the whole wait. Raises as
        `AsyncResult.get`.
        """
        if disable_sync_subtasks:
            refuse_inside_task()
        ended: dict[str, TaskResult] = {}
        for leaf, report in Completions(self.leaves(), self.id, timeout).reports():
            ended[leaf.id] = report
            if propagate and report.status != SUCCESS:
                raise error_of(report)
        return self._values(ended)

    def join(self, timeout: float | None = None, *, propagate: bool = True) -> list[object]:
        """The same as `get`."""
        return self.get(timeout, propagate=propagate)

    async def aget(self, timeout: float | None = None, *, propagate: bool = True) -> list[object]:
        """As `get`, without holding up the event loop."""
        refuse_inside_task()
        ended: dict[str, TaskResult] = {}
        async for leaf, report in Completions(self.leaves(), self.id, timeout).areports():
            ended[leaf.id] = report
            if propagate and report.status != SUCCESS:
                raise error_of(report)
        return self._values(ended)

    def __await__(self) -> Generator[object, None, list[object]]:
        return self.aget().__await__()

    def as_completed(self, timeout: float | None = None) -> "Completions[Handle]":
        """The members as they come to an end, for `for` and for `async for`; a group in it when all of its are."""
        return Completions(self.results, self.id, timeout)

    def when_over(self, settle: Callable[[Update], None]) -> Callable[[], None]:
        """Have `settle` called once, when all members are over, with a report that says whether all succeeded."""
        return EndOfAll(self.id, self.leaves(), settle).cancel

    def then(self, callback: "Callable[[GroupResult], None]") -> "GroupResult":
        """Have `callback` called once all members are over; on a thread of the backend."""
        self.when_over(lambda update: callback(self))
        return self

    def forget(self) -> None:
        """Drop what the backend keeps of the members."""
        for member in self.results:
            member.forget()

    def revoke(self, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
        """Have no member started; `terminate` ends those that run already."""
        for member in self.results:
            member.revoke(terminate=terminate, signal=signal)

    def save(self) -> None:
        """Keep the members' ids under the group's, for `restore`."""
        self._access.backend.save_group(self.ref())

    def delete(self) -> None:
        """Drop what `save` kept."""
        self._access.backend.delete_group(self.id)

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

    def _values(self, ended: Mapping[str, TaskResult]) -> list[object]:
        return [
            member.outcome(ended[member.id], propagate=False)
            if isinstance(member, AsyncResult)
            else member._values(ended)
            for member in self.results
        ]


Handle: TypeAlias = AsyncResult[object] | GroupResult


def handle(ref: ResultRef, access: ResultAccess) -> Handle:
    """The handle on what `ref` names."""
    parent = None if ref.parent is None else handle(ref.parent, access)
    if ref.members is None:
        return AsyncResult(ref.id, access, parent=parent)
    return GroupResult(ref.id, [handle(member, access) for member in ref.members], access, parent=parent)


def _nothing() -> None:
    pass
