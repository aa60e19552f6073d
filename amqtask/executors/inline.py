"""One slot on the main thread: the pools `processes` (one in each child) and `solo`.

Plain functions run on the main thread itself, so a soft limit can be a signal that interrupts system calls.
Coroutines run on an event loop that lives as long as the slot.
"""

import collections
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

from amqtask.executors.base import Abilities, Execution, Waiting
from amqtask.executors.coroutines import SlotLoop
from amqtask.executors.waiting import take_all

INTERRUPT = signal.SIGUSR2
"""The signal by which another thread makes the main thread look whether it is to be interrupted."""


class InlineExecutor:
    """Runs one execution at a time on the main thread."""

    abilities = Abilities(soft_limit=True, hard_limit=True)

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = 1
        self._waiting: Waiting = collections.deque()
        self._ready: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._running: Execution | None = None
        self._interrupt: tuple[Execution, type[BaseException]] | None = None
        self._loop = SlotLoop()
        self._main: int | None = None
        self._stopping = False
        self._woken = False

    def submit(self, execution: Execution) -> None:
        self._waiting.append(execution)
        # One wake-up for all that comes before the main thread has looked.
        if not self._woken:
            self._woken = True
            self._ready.put(self._work)

    def wait_in(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def waiting(self) -> int:
        return len(self._waiting)

    def drain(self) -> list[Execution]:
        return take_all(self._waiting)

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        if self._running is not execution or self._main is None or not execution.interruptible:
            return False
        self._interrupt = (execution, error)
        signal.pthread_kill(self._main, INTERRUPT)
        return True

    def calm(self, execution: Execution) -> None:
        """The signal's handler looks at `interruptible` in the very thread that clears it: nothing can come late."""

    def resize(self, capacity: int) -> None:
        if capacity != 1:
            raise ValueError("a process of this pool has one slot")

    def call(self, function: Callable[[], None]) -> None:
        self._ready.put(function)

    def run(self) -> None:
        self._main = threading.get_ident()
        before = signal.signal(INTERRUPT, self._interrupted)
        try:
            while (step := self._ready.get()) is not None:
                step()
        finally:
            signal.signal(INTERRUPT, before)
            self._loop.close()

    def stop(self) -> None:
        self._stopping = True
        self._ready.put(None)

    def _work(self) -> None:
        """Run what waits, until somebody else wants something of this thread."""
        # Before the look at what waits, so that whatever comes after the look wakes this thread again.
        self._woken = False
        while not self._stopping:
            try:
                execution = self._waiting.popleft()
            except IndexError:
                return
            self._run(execution)
            if not self._ready.empty():
                self._ready.put(self._work)
                return

    def _run(self, execution: Execution) -> None:
        self._running = execution
        try:
            if execution.is_async:
                self._loop.run(execution)
            else:
                execution.run()
        finally:
            self._running = None

    def _interrupted(self, signum: int, frame: FrameType | None) -> None:
        wanted, self._interrupt = self._interrupt, None
        if wanted is None:
            return
        execution, error = wanted
        # It may have ended while the signal was on its way, or be deciding what became of it.
        if execution is not self._running or not execution.interruptible:
            return
        if execution.is_async and not self._loop.runs_now(execution):
            # The loop itself runs, or waits: an exception raised here would end the loop.
            self._loop.cancel(execution, error)
            return
        execution.interrupt = error
        raise error
