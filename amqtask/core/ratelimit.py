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


class Bucket:
    """A bucket of one token: starts are evenly spaced, and no burst follows a pause.

    `rate` is tokens a second. Instants are the caller's, monotonic seconds.
    """

    __slots__ = ("_free_at", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free_at = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if now < self._free_at:
            return False
        # From the instant at which it came free, not from now: being asked late must not lower the rate. After a pause
        # of more than one token's time nothing is saved up.
        interval = 1.0 / self.rate
        self._free_at = max(self._free_at + interval, now)
        if self._free_at <= now:
            self._free_at = now + interval
        return True

    def due(self, now: float) -> float:
        """The instant at which there is a token."""
        return max(now, self._free_at)
