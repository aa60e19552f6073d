"""What will happen later, by the broker's clock."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Timer:
    """One action at one time."""

    __slots__ = ("action", "is_cancelled", "when")

    def __init__(self, when: float, action: Action) -> None:
        self.when = when
        self.action = action
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Timers:
    """Actions by time; those of the same time in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def at(self, when: float, action: Action) -> Timer:
        """Do `action` at `when` (seconds since the epoch)."""
        timer = Timer(when, action)
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, timer))
        return timer

    def next_at(self) -> float | None:
        """When the next action is due, or None."""
        while self._heap and self._heap[0][2].is_cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Timer:
        """Take the next action out; `next_at` has said that there is one."""
        return heapq.heappop(self._heap)[2]
