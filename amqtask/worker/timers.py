"""Timers: calls that are due later, on the session's thread."""

import heapq
import itertools
import threading
from collections.abc import Callable

from amqtask.session import NEVER


class Timers:
    """A heap of calls. `add` may be called from any thread, `run` belongs to one."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = itertools.count()
        self._lock = threading.Lock()

    def add(self, due: float, call: Callable[[], None]) -> None:
        """Have `call` made at this monotonic instant."""
        with self._lock:
            heapq.heappush(self._heap, (due, next(self._ids), call))

    def run(self, now: float) -> float:
        """Make the calls that are due; when the next one is."""
        while True:
            with self._lock:
                if not self._heap or self._heap[0][0] > now:
                    return self._heap[0][0] if self._heap else NEVER
                _, _, call = heapq.heappop(self._heap)
            call()
