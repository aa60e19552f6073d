"""What the pools of green threads share. Imported in patched processes only.

All runs in one thread of the system, which switches where code waits. Coroutines run on one event loop that lives in a
green thread: asyncio knows one running loop a thread, so there cannot be one in each.
"""

import asyncio
import collections
import selectors
import threading
from collections.abc import Callable
from typing import Any

from amqtask.executors.base import Abilities, Execution, Waiting
from amqtask.executors.coroutines import Coroutines, run_through
from amqtask.executors.waiting import take_all


class GreenExecutor:
    """Runs each execution in a green thread. "From any thread" means: from any green thread of the process."""

    abilities = Abilities(soft_limit=True, hard_limit=False)

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._waiting: Waiting = collections.deque()
        self._running: dict[Execution, Any] = {}
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._wake = threading.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_end: asyncio.Future[None] | None = None
        self._loop_closed = threading.Event()
        self._coroutines: Coroutines | None = None

    # What a library must do

    def _spawn(self, function: Callable[..., None], *arguments: object) -> object:
        """Start a green thread soon; what stands for it."""
        raise NotImplementedError

    def _from_hub(self, function: Callable[[], None]) -> None:
        """Call a function soon from the loop that switches between green threads."""
        raise NotImplementedError

    # The port

    def submit(self, execution: Execution) -> None:
        self._waiting.append(execution)
        self._fill()

    def wait_in(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def waiting(self) -> int:
        return len(self._waiting)

    def drain(self) -> list[Execution]:
        return take_all(self._waiting)

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        if execution not in self._running:
            return False
        if execution.is_async:
            return self._coroutines is not None and self._coroutines.cancel(execution, error)
        self._from_hub(lambda: self._throw(execution, error))
        return True

    def calm(self, execution: Execution) -> None:
        """Nothing can come late: it is thrown while the execution waits, after a look at `interruptible`."""

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self._fill()

    def run(self) -> None:
        while self._running or not self._stopping:
            self._wake.wait()
            self._wake.clear()
            while self._calls:
                self._calls.popleft()()
        if self._loop is not None and self._loop_end is not None:
            self._loop.call_soon_threadsafe(self._loop_end.set_result, None)
            self._loop_closed.wait()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def call(self, function: Callable[[], None]) -> None:
        self._calls.append(function)
        self._wake.set()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.capacity and not self._stopping:
            execution = self._waiting.popleft()
            if execution.is_async:
                self._running[execution] = None
                loop, coroutines = self._event_loop()
                loop.call_soon_threadsafe(coroutines.start, execution)
            else:
                self._running[execution] = self._spawn(self._run, execution)

    def _run(self, execution: Execution) -> None:
        try:
            execution.run()
        finally:
            self._ended(execution)

    def _ended(self, execution: Execution) -> None:
        del self._running[execution]
        if self._stopping:
            self._wake.set()
        else:
            self._fill()

    def _throw(self, execution: Execution, error: type[BaseException]) -> None:
        green = self._running.get(execution)
        if green is not None and execution.interruptible:
            execution.interrupt = error
            green.throw(error)

    def _event_loop(self) -> "tuple[asyncio.AbstractEventLoop, Coroutines]":
        if self._loop is None or self._coroutines is None:
            self._loop = asyncio.SelectorEventLoop(_GreenSelector())
            self._loop_end = self._loop.create_future()
            self._coroutines = Coroutines(self._loop, self._ended)
            self._spawn(self._run_loop, self._loop, self._loop_end)
        return self._loop, self._coroutines

    def _run_loop(self, loop: asyncio.AbstractEventLoop, end: "asyncio.Future[None]") -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            run_through(runner.get_loop(), end)
        self._loop_closed.set()


# The library's own, or one that it put in its place: this module is imported after the patch.
class _GreenSelector(selectors.DefaultSelector):
    """While its loop waits, other green threads see no running event loop, so that they may run one themselves."""

    _others: asyncio.AbstractEventLoop | None = None

    def select(self, timeout: float | None = None) -> "list[tuple[selectors.SelectorKey, int]]":
        own = asyncio._get_running_loop()
        asyncio._set_running_loop(self._others)
        try:
            return super().select(timeout)
        finally:
            self._others = asyncio._get_running_loop()
            asyncio._set_running_loop(own)
