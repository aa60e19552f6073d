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

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()
