"""One slot on the main thread: the pools `processes` (one in each child) and `solo`.

Plain functions run on the main thread itself, so a soft limit can be a signal that interrupts system calls.
Coroutines run on an event loop that lives as long as the slot.
"""

import asyncio
import collections
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

from amqtask.executors.base import Abilities, Execution

INTERRUPT = signal.SIGUSR2
"""The signal by which another thread makes the main thread look whether it is to be interrupted."""


class InlineExecutor:
    """Runs one execution at a time on the main thread."""

    abilities = Abilities(soft_limit=True, hard_limit=True)

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = 1
        self._waiting: collections.deque[Execution] = collections.deque()
        self._ready: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._running: Execution | None = None
        self._interrupt: tuple[Execution, type[BaseException]] | None = None
        self._runner: asyncio.Runner | None = None
        self._main: int | None = None
        self._stopping = False

    def submit(self, execution: Execution) -> None:
        self._waiting.append(execution)
        self._ready.put(self._next)

    def waiting(self) -> int:
        return len(self._waiting)

    def drain(self) -> list[Execution]:
        taken = []
        while self._waiting:
            try:
                taken.append(self._waiting.popleft())
            except IndexError:  # the main thread took the last one in between
                break
        return taken

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        if self._running is not execution or self._main is None:
            return False
        self._interrupt = (execution, error)
        signal.pthread_kill(self._main, INTERRUPT)
        return True

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
            if self._runner is not None:
                self._runner.close()

    def stop(self) -> None:
        self._ready.put(None)

    def _next(self) -> None:
        try:
            execution = self._waiting.popleft()
        except IndexError:  # it was drained
            return
        self._running = execution
        try:
            if execution.is_async:
                self._run_async(execution)
            else:
                execution.run()
        finally:
            self._running = None

    def _run_async(self, execution: Execution) -> None:
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(execution.run_async())

    def _interrupted(self, signum: int, frame: FrameType | None) -> None:
        wanted, self._interrupt = self._interrupt, None
        # The execution may have ended while the signal was on its way.
        if wanted is not None and wanted[0] is self._running:
            raise wanted[1]
