"""ResultSet: what becomes of several tasks together."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from amqtask.core.state import SUCCESS, TaskResult
from amqtask.joining import refuse_inside_task
from amqtask.results.base import Update
from amqtask.results.completions import Completions, EndOfAll
from amqtask.results.remote_error import error_of

if TYPE_CHECKING:
    from typing import Self

    from amqtask.result import AsyncResult, Handle


class ResultSet:
    """The results of any calls, in order: `ResultSet([price.delay("book"), price.delay("pen")]).get()` waits for both.

    Members may be groups themselves. What is to be found again by an id is a `GroupResult`.
    """

    def __init__(self, results: "Iterable[Handle]" = ()) -> None:
        self.results = list(results)

    def __repr__(self) -> str:
        return f"<ResultSet of {len(self.results)}>"

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

    def leaves(self) -> "list[AsyncResult[object]]":
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
        for leaf, report in Completions(self.leaves(), self._label(), timeout).reports():
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
        async for leaf, report in Completions(self.leaves(), self._label(), timeout).areports():
            ended[leaf.id] = report
            if propagate and report.status != SUCCESS:
                raise error_of(report)
        return self._values(ended)

    def __await__(self) -> Generator[object, None, list[object]]:
        return self.aget().__await__()

    def as_completed(self, timeout: float | None = None) -> "Completions[Handle]":
        """The members as they come to an end, for `for` and for `async for`; a group in it when all of its are."""
        return Completions(self.results, self._label(), timeout)

    def when_over(self, settle: Callable[[Update], None]) -> Callable[[], None]:
        """Have `settle` called once, when all members are over, with a report that says whether all succeeded."""
        return EndOfAll(self._label(), self.leaves(), settle).cancel

    def then(self, callback: "Callable[[Self], None]") -> "Self":
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

    def _label(self) -> str:
        """What errors call it."""
        return f"a set of {len(self.results)} results"

    def _values(self, ended: Mapping[str, TaskResult]) -> list[object]:
        return [
            member._values(ended)
            if isinstance(member, ResultSet)
            else member.outcome(ended[member.id], propagate=False)
            for member in self.results
        ]
