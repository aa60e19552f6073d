"""Wear: a process that has run so many tasks, or grown so large, is to be replaced."""

import resource
from collections.abc import Callable
from pathlib import Path

from amqtask.session import NEVER

LOOK_EVERY = 1.0
"""Seconds between two looks at the process's memory."""

_STATM = Path("/proc/self/statm")
_PAGE = resource.getpagesize()


class Wear:
    """Counts what a process has run and looks at its memory; says once that it is worn out."""

    def __init__(self, *, max_tasks: int | None, max_memory: int | None, worn_out: Callable[[], None]) -> None:
        """`max_memory` is bytes of resident memory."""
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._worn_out = worn_out
        self._said = False
        self._due = 0.0
        self.processed = 0
        """How many executions came to their end in this process."""

    def ended(self) -> None:
        """One more came to its end."""
        self.processed += 1
        if self._max_tasks is not None and self.processed >= self._max_tasks:
            self._say()

    def turn(self, now: float) -> float:
        """Look at the memory when that is due; when to look next."""
        if self._max_memory is None or self._said:
            return NEVER
        if now >= self._due:
            self._due = now + LOOK_EVERY
            if resident() > self._max_memory:
                self._say()
        return self._due

    def _say(self) -> None:
        if not self._said:
            self._said = True
            self._worn_out()


def resident() -> int:
    """Bytes of memory that this process has resident; where the system does not tell, the most it ever had."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
