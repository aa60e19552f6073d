"""Exponential back-off with jitter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays that double from `initial` to `maximum` seconds; chance shortens each by up to the fraction `jitter`."""

    initial: float = 0.5
    maximum: float = 30.0
    jitter: float = 0.5

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds before try number `attempt` (from 1); `chance` is a random number in [0, 1)."""
        # 2.0**1024 overflows; nobody waits that long.
        full = min(self.maximum, self.initial * 2.0 ** min(attempt - 1, 64))
        return full * (1.0 - self.jitter * chance)
