"""The two clocks, behind a Protocol, so that tests bring their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """What amqtask asks of time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never steps back. For deadlines."""
        ...

    def time(self) -> float:
        """Seconds since the epoch. For what others read: ETAs, expiry, events."""
        ...


class SystemClock:
    """The machine's clocks."""

    # The functions themselves: a method around each is a frame more, some six times a task.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
