"""When a failed task is tried again, and after how long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A task's retry options, with Celery's meaning. Times are seconds; `max_retries` None is without end."""

    max_retries: int | None = 3
    default_delay: float = 180.0
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    backoff: float = 0.0
    """The first delay of an exponential back-off; 0 turns it off."""
    backoff_max: float = 600.0
    jitter: bool = True

    def wants(self, error: BaseException) -> bool:
        """Whether this error is retried without the task asking for it."""
        return isinstance(error, self.autoretry_for) and not isinstance(error, self.dont_autoretry_for)

    def exhausted(self, retries: int) -> bool:
        """Whether a task that was retried so often may not be again."""
        return self.max_retries is not None and retries >= self.max_retries

    def delay(self, retries: int, chance: float) -> float:
        """Seconds before the next attempt of a task that was retried so often; `chance` is in [0, 1)."""
        if not self.backoff:
            return self.default_delay
        full = min(self.backoff_max, self.backoff * 2.0 ** min(retries, 64))
        # Full jitter, as Celery has it: anything between nothing and all of it.
        return full * chance if self.jitter else full
