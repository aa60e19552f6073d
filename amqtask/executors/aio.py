"""The pool `asyncio`: coroutines side by side on one event loop; plain functions in threads beside it."""

import asyncio
import collections
from collections.abc import Callable

from amqtask.executors.base import Abilities, Execution, Waiting
from amqtask.executors.coroutines import Coroutines, run_through
from amqtask.executors.crew import Crew
from amqtask.executors.waiting import take_all

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class AsyncioExecutor:
    """Runs executions on the main thread's event loop, plain functions in a crew of threads, so many in all."""

    abilities = Abilities(soft_limit=True, hard_limit=False)

    def __init__(self, capacity: int, loop_factory: LoopFactory = asyncio.new_event_loop) -> None:
        self.capacity = capacity
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._loop = self._runner.get_loop()
        self._coroutines = Coroutines(self._loop, self._one_ended)
        self._crew = Crew(capacity, lambda execution: self._soon(lambda: self._one_ended(execution)))
        self._waiting: Waiting = collections.deque()
        self._woken = False
        self._running = 0
        self._stopping = False
        self._done = self._loop.create_future()

    def submit(self, execution: Execution) -> None:
        self._waiting.append(execution)
        # One wake-up for all that comes before the loop has looked: waking costs more than a coroutine's start.
        if not self._woken:
            self._woken = True
            self._soon(self._fill)

    def wait_in(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def waiting(self) -> int:
        return len(self._waiting)

    def drain(self) -> list[Execution]:
        return take_all(self._waiting)

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        if execution.is_async:
            return self._coroutines.cancel(execution, error)
        return self._crew.interrupt(execution, error)

    def calm(self, execution: Execution) -> None:
        # A coroutine is cancelled in the loop's own thread, which sees whether the user's code still runs.
        if not execution.is_async:
            self._crew.calm(execution)

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self._crew.resize(capacity)
        self._soon(self._fill)

    def run(self) -> None:
        with self._runner:
            run_through(self._loop, self._done)
        self._crew.dismiss()
        self._crew.join()

    def stop(self) -> None:
        self._stopping = True
        self._soon(self._end_if_idle)

    def call(self, function: Callable[[], None]) -> None:
        self._soon(function)

    def _soon(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            if not self._loop.is_closed():  # closed: `run` has returned, and there is nothing left to do
                raise

    # On the loop's thread

    def _fill(self) -> None:
        # Before the look at what waits, so that whatever comes after the look wakes the loop again.
        self._woken = False
        while self._running < self.capacity and not self._stopping:
            try:
                execution = self._waiting.popleft()
            except IndexError:
                return
            self._running += 1
            if execution.is_async:
                self._coroutines.start(execution)
            else:
                self._crew.submit(execution)

    def _one_ended(self, execution: Execution) -> None:
        self._running -= 1
        if self._waiting:
            self._fill()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._stopping and self._running == 0 and not self._done.done():
            self._done.set_result(None)
