"""Crew: threads that run executions, so many at a time."""

import collections
import ctypes
import threading
from collections.abc import Callable

from amqtask.executors.base import Execution, Waiting
from amqtask.executors.coroutines import SlotLoop
from amqtask.executors.waiting import take_all


class Crew:
    """Threads are made when there is work for them, up to `capacity`, and kept until `dismiss`.

    Coroutine functions run on a loop of their thread.
    """

    def __init__(self, capacity: int, ended: Callable[[Execution], None] = lambda execution: None) -> None:
        """`ended` is called, in the crew's threads, with each execution that has come to its end."""
        self.capacity = capacity
        self._ended = ended
        self._lock = threading.Lock()
        self._wakeup = threading.Condition(self._lock)
        self._waiting: Waiting = collections.deque()
        self._running: dict[Execution, _Slot] = {}
        self._threads: set[threading.Thread] = set()
        self._number = 0
        self._idle = 0
        """Threads that wait and that nobody has woken yet."""
        self._stopping = False

    def submit(self, execution: Execution) -> None:
        """Have it run as soon as a thread is free. From any thread."""
        with self._lock:
            self._waiting.append(execution)
            self._muster()

    def wait_in(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def waiting(self) -> int:
        """How many are submitted and not started."""
        return len(self._waiting)

    def drain(self) -> list[Execution]:
        """Take back all that are not started. From any thread."""
        with self._lock:
            return take_all(self._waiting)

    def resize(self, capacity: int) -> None:
        """Change the number of threads; what runs goes on. From any thread."""
        with self._lock:
            self.capacity = capacity
            for _ in range(min(len(self._waiting), capacity)):
                self._muster()
            self._wake_all()  # those that are too many leave

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        """Raise `error` in the thread that runs the execution's code. From any thread."""
        with self._lock:
            slot = self._running.get(execution)
            if slot is None:
                return False
            if execution.is_async:
                return slot.loop.cancel(execution, error)
            before, execution.interrupt = execution.interrupt, error
            # In this order: who ends the user's code clears `interruptible` first and looks at `interrupt` then,
            # so either nothing is raised here, or `calm` waits for the lock and takes it back.
            if not execution.interruptible:
                execution.interrupt = before
                return False
            _raise_in_thread(slot.thread, error)
            return True

    def calm(self, execution: Execution) -> None:
        """Forget what was raised into the calling thread and has not arrived."""
        with self._lock:
            _raise_in_thread(threading.get_ident(), None)

    def dismiss(self) -> None:
        """Start nothing more; the threads end when what they run has ended. From any thread."""
        with self._lock:
            self._stopping = True
            self._wake_all()

    def join(self) -> None:
        """Wait for all threads to end."""
        for thread in list(self._threads):
            thread.join()

    def _muster(self) -> None:
        """See that somebody takes what waits. With the lock held."""
        if self._idle:
            self._idle -= 1
            self._wakeup.notify()
        elif len(self._threads) < self.capacity and not self._stopping:
            self._number += 1
            thread = threading.Thread(target=self._work, name=f"amqtask-slot-{self._number}", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _wake_all(self) -> None:
        self._idle = 0
        self._wakeup.notify_all()

    def _work(self) -> None:
        slot = _Slot()
        while (execution := self._take(slot)) is not None:
            try:
                if execution.is_async:
                    slot.loop.run(execution)
                else:
                    execution.run()
            finally:
                with self._lock:
                    del self._running[execution]
                self._ended(execution)
        slot.loop.close()

    def _take(self, slot: "_Slot") -> Execution | None:
        """The next execution; None when this thread is not needed any more."""
        with self._lock:
            while not self._stopping and len(self._threads) <= self.capacity:
                if self._waiting:
                    execution = self._waiting.popleft()
                    self._running[execution] = slot
                    return execution
                self._idle += 1
                self._wakeup.wait()  # whoever wakes it counts it off
            if not self._stopping:
                self._threads.discard(threading.current_thread())
            return None


class _Slot:
    """A thread of the crew."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.loop = SlotLoop()


def _raise_in_thread(thread: int, error: type[BaseException] | None) -> None:
    """Raise in another thread at its next step in Python; None takes back what has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
