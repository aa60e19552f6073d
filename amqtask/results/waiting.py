"""Waiting for reports on a backend: until a task is over, and report by report; for threads and for event loops."""

import asyncio
import functools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeGuard

from amqtask.core.state import SUCCESS, UNKNOWN, TaskResult, supersedes
from amqtask.errors import AmqtaskError, ResultTimeout, ResultUnavailable
from amqtask.results.base import ResultBackend, Unsubscribe, Update


class FinalWatch:
    """Waits for the end of a task, or of one of those before it in a chain that failed: then it never begins.

    `settle` is called once, from any thread: with the report that ended it (its `task_id` tells whose it is), or with
    why none comes.
    """

    def __init__(self, backend: ResultBackend, task_ids: Sequence[str], settle: Callable[[Update], None]) -> None:
        """The first of `task_ids` is waited for, the others come before it."""
        self._settle = settle
        self._settled = False
        self._lock = threading.Lock()
        self._unsubscribes: list[Unsubscribe] = []
        for position, task_id in enumerate(task_ids):
            self._unsubscribes.append(backend.watch(task_id, functools.partial(self._hear, position == 0)))
            if self._settled:
                break
        if self._settled:
            self._unsubscribe()

    def cancel(self) -> None:
        """Wait no longer; `settle` is not called any more (but may be under way on another thread)."""
        with self._lock:
            self._settled = True
        self._unsubscribe()

    def _hear(self, own: bool, update: Update) -> None:
        if isinstance(update, TaskResult):
            if update.status == UNKNOWN and own:
                update = unknown(update.task_id)
            elif not update.is_final or (update.status == SUCCESS and not own):
                return
        elif not own:
            return
        with self._lock:
            if self._settled:
                return
            self._settled = True
        self._settle(update)
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        while self._unsubscribes:
            self._unsubscribes.pop()()


def await_final(backend: ResultBackend, task_ids: Sequence[str], timeout: float | None) -> TaskResult:
    """The report that ends the wait, as FinalWatch says.

    Raises:
        ResultTimeout: it did not come in time.
        ResultUnavailable, BackendFailed: none comes.
    """
    came = threading.Event()
    updates: list[Update] = []

    def settle(update: Update) -> None:
        updates.append(update)
        came.set()

    watch = FinalWatch(backend, task_ids, settle)
    try:
        came.wait(timeout)
    finally:
        watch.cancel()
    return _decided(updates, task_ids[0], timeout)


async def aawait_final(backend: ResultBackend, task_ids: Sequence[str], timeout: float | None) -> TaskResult:
    """As `await_final`, without holding up the event loop."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    updates: list[Update] = []

    def settle(update: Update) -> None:
        updates.append(update)
        loop.call_soon_threadsafe(came.set)

    watch = FinalWatch(backend, task_ids, settle)
    try:
        async with asyncio.timeout(timeout):
            await came.wait()
    except TimeoutError:
        if not updates:
            raise timed_out(task_ids[0], timeout) from None
    finally:
        watch.cancel()
    return _decided(updates, task_ids[0], timeout)


def follow(backend: ResultBackend, task_id: str, timeout: float | None) -> Iterator[TaskResult]:
    """The reports as they come, up to the final one; raises as `await_final` does. `timeout` bounds it all."""
    arrived: queue.SimpleQueue[Update] = queue.SimpleQueue()
    deadline = None if timeout is None else time.monotonic() + timeout
    unsubscribe = backend.watch(task_id, arrived.put)
    try:
        shown: TaskResult | None = None
        while shown is None or not shown.is_final:
            try:
                update = arrived.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise timed_out(task_id, timeout) from None
            if _is_news(update, shown):
                shown = update
                yield shown
    finally:
        unsubscribe()


async def afollow(backend: ResultBackend, task_id: str, timeout: float | None) -> AsyncIterator[TaskResult]:
    """As `follow`, for `async for`."""
    arrived: asyncio.Queue[Update] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout

    def hear(update: Update) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, update)

    unsubscribe = backend.watch(task_id, hear)
    try:
        shown: TaskResult | None = None
        while shown is None or not shown.is_final:
            try:
                async with asyncio.timeout_at(deadline):
                    update = await arrived.get()
            except TimeoutError:
                raise timed_out(task_id, timeout) from None
            if _is_news(update, shown):
                shown = update
                yield shown
    finally:
        unsubscribe()


def timed_out(task_id: str, timeout: float | None) -> ResultTimeout:
    """The error of a wait that took too long."""
    return ResultTimeout(f"no result of {task_id} within {timeout or 0:g} s")


def unknown(task_id: str) -> ResultUnavailable:
    """The error of a wait for what cannot come."""
    return ResultUnavailable(
        f"no result can come for {task_id}: this process did not publish that task, or it dropped the result unread"
        " (results.keep); results.backend: rabbitmq, redis or sql lets any process ask"
    )


def _is_news(update: Update, shown: TaskResult | None) -> TypeGuard[TaskResult]:
    if isinstance(update, AmqtaskError):
        raise update
    if update.status == UNKNOWN:
        raise unknown(update.task_id)
    return update != shown and supersedes(update, shown)


def _decided(updates: Sequence[Update], task_id: str, timeout: float | None) -> TaskResult:
    if not updates:
        raise timed_out(task_id, timeout)
    if isinstance(updates[0], AmqtaskError):
        raise updates[0]
    return updates[0]
