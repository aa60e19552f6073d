"""Handles in the order in which their tasks come to an end, for threads and for event loops."""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from amqtask.core.state import FAILURE, SUCCESS, TaskResult
from amqtask.errors import AmqtaskError
from amqtask.results.base import Unsubscribe, Update
from amqtask.results.waiting import timed_out


class Ending(Protocol):
    """What comes to an end once, and tells."""

    def when_over(self, settle: Callable[[Update], None]) -> Unsubscribe:
        """Have `settle` called once, from any thread."""
        ...


M = TypeVar("M", bound=Ending)


class Completions(Generic[M]):
    """Iterate over it, with `for` or `async for`, once.

    Raises, while iterated over:
        ResultTimeout: not all were over within `timeout` seconds.
        ResultUnavailable, BackendFailed: for one of them no result can come.
    """

    def __init__(self, members: Sequence[M], name: str, timeout: float | None) -> None:
        self._members = members
        self._name = name
        self._timeout = timeout

    def __iter__(self) -> Iterator[M]:
        for member, _ in self.reports():
            yield member

    async def __aiter__(self) -> AsyncIterator[M]:
        async for member, _ in self.areports():
            yield member

    def reports(self) -> Iterator[tuple[M, TaskResult]]:
        """Each with the report that ended it."""
        arrived: queue.SimpleQueue[tuple[M, Update]] = queue.SimpleQueue()
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        unsubscribes = self._listen(lambda member, update: arrived.put((member, update)))
        try:
            for _ in self._members:
                try:
                    member, update = arrived.get(
                        timeout=None if deadline is None else max(0.0, deadline - time.monotonic())
                    )
                except queue.Empty:
                    raise timed_out(self._name, self._timeout) from None
                yield member, _report(update)
        finally:
            for unsubscribe in unsubscribes:
                unsubscribe()

    async def areports(self) -> AsyncIterator[tuple[M, TaskResult]]:
        """As `reports`, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[M, Update]] = asyncio.Queue()
        deadline = None if self._timeout is None else loop.time() + self._timeout

        def settle(member: M, update: Update) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, (member, update))

        unsubscribes = self._listen(settle)
        try:
            for _ in self._members:
                try:
                    async with asyncio.timeout_at(deadline):
                        member, update = await arrived.get()
                except TimeoutError:
                    raise timed_out(self._name, self._timeout) from None
                yield member, _report(update)
        finally:
            for unsubscribe in unsubscribes:
                unsubscribe()

    def _listen(self, settle: Callable[[M, Update], None]) -> list[Unsubscribe]:
        def listen_to(member: M) -> Unsubscribe:
            return member.when_over(lambda update: settle(member, update))

        return [listen_to(member) for member in self._members]


class EndOfAll:
    """Calls `settle` once, when all members are over: with a report that says whether all succeeded."""

    def __init__(self, name: str, members: Sequence[Ending], settle: Callable[[Update], None]) -> None:
        self._name = name
        self._settle = settle
        self._lock = threading.Lock()
        self._left = len(members)
        self._status = SUCCESS
        self._over = False
        self._unsubscribes = [member.when_over(self._one_over) for member in members]
        if not members:
            settle(TaskResult(task_id=name, status=SUCCESS))

    def cancel(self) -> None:
        """Wait no longer."""
        self._over = True
        for unsubscribe in self._unsubscribes:
            unsubscribe()

    def _one_over(self, update: Update) -> None:
        failed = isinstance(update, AmqtaskError)
        with self._lock:
            self._left -= 1
            if failed or (isinstance(update, TaskResult) and update.status != SUCCESS):
                self._status = FAILURE
            if self._over or not (failed or self._left == 0):
                return
            self._over = True
        self._settle(update if failed else TaskResult(task_id=self._name, status=self._status))


def _report(update: Update) -> TaskResult:
    if isinstance(update, AmqtaskError):
        raise update
    return update
