"""Rate limits: how many starts of a task a second, a minute or an hour, exactly, for a whole node."""

import re

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:/([smh]))?")
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_rate(text: str | int | float | None) -> float:
    """Starts a second: of `10/s`, `200/m`, `5/h`, or a number, which is one a second. 0 (or nothing) is no limit.

    Raises:
        ValueError: it is none of these.
    """
    if text is None or text == "":
        return 0.0
    found = _RATE.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is no rate; write 10/s, 200/m or 5/h, and 0 for none")
    return float(found[1]) / _SECONDS[found[2]]


CATCH_UP = 1.0
"""Seconds for which tokens that nobody came to take in time, on a busy machine, can be taken still."""


class Bucket:
    """A bucket of one token: starts are evenly spaced, and no burst follows a pause.

    `rate` is tokens a second, and may be changed at any time. Instants are the caller's, monotonic seconds.
    """

    __slots__ = ("_taken", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._taken = float("-inf")
        """When the last token came free that was taken."""

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        free_at = self._taken + 1.0 / self.rate
        if now < free_at:
            return False
        # From the instant at which it came free, not from now: being asked late must not lower the rate.
        self._taken = free_at if free_at >= now - CATCH_UP else now
        return True

    def put_back(self) -> None:
        """Whoever took a token could not use it."""
        self._taken -= 1.0 / self.rate

    def rest(self, now: float) -> None:
        """Nobody wanted a token until now: of those that came free meanwhile only one is left."""
        self._taken = max(self._taken, now - 1.0 / self.rate)

    def spent(self, at: float) -> None:
        """A token was taken at that instant by somebody else."""
        self._taken = max(self._taken, at)

    def due(self, now: float) -> float:
        """The instant at which there is a token."""
        return max(now, self._taken + 1.0 / self.rate)
