"""The gate: holds tasks that are rate-limited until the supervisor grants them a start.

The supervisor keeps one bucket a task for the whole node, or asks for starts where the limit is the whole cluster's.
What waits here occupies no slot, and only so much of it waits: more than half of a queue's window goes back to the
broker's delay tree until its time, so that other tasks of the queue are not kept out.
"""

import collections
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from amqtask.core.message import Json
from amqtask.core.outcome import TooEarly
from amqtask.core.ratelimit import parse_rate
from amqtask.worker.execution import Execution
from amqtask.worker.pipe import Note

LONGEST_DELAY = 30.0
"""Seconds that excess waits in the broker before it asks again: the limit may have been lifted since."""


class Gate:
    """One process's part of the node's rate limits. Everything belongs to the session's thread."""

    def __init__(
        self,
        *,
        tell: Callable[[Note], None],
        submit: Callable[[Execution], None],
        delay: Callable[[Execution, TooEarly], None],
        window: Callable[[str], int],
        now: Callable[[], float],
    ) -> None:
        """`delay` sends an execution back for later; `window` is a queue's prefetch; `now` seconds since the epoch."""
        self._tell = tell
        self._submit = submit
        self._delay = delay
        self._window = window
        self._now = now
        self._limits: dict[str, float] = {}
        self._waiting: dict[str, collections.deque[Execution]] = {}
        self._delayed_until: dict[str, float] = {}

    def limit(self, task: str, rate: Json) -> None:
        """Limit a task from now on."""
        self._limits[task] = parse_rate(rate if isinstance(rate, (str, int, float)) else None)
        self._delayed_until.pop(task, None)
        waiting = self._waiting.pop(task, None)
        for execution in waiting or ():
            # With the new rate, or none.
            self.enter(execution)

    def forget(self, task: str) -> None:
        """Limit a task as its options say."""
        if self._limits.pop(task, None) is not None:
            for execution in self._waiting.pop(task, ()):
                self.enter(execution)

    def rate(self, execution: Execution) -> float:
        """Starts a second; 0 for no limit."""
        rate = self._limits.get(execution.request.task)
        return parse_rate(execution.effective.rate_limit) if rate is None else rate

    def enter(self, execution: Execution) -> None:
        """Submit an execution, at once or when it is granted."""
        if execution.ended:
            return
        rate = self.rate(execution)
        if not rate:
            self._submit(execution)
            return
        task = execution.request.task
        waiting = self._waiting.setdefault(task, collections.deque())
        if len(waiting) >= max(1, self._window(execution.queue) // 2):
            self._send_back(execution, rate, len(waiting))
            return
        waiting.append(execution)
        shared = execution.effective.rate_limit_scope == "cluster"
        self._tell({"is": "want", "task": task, "rate": rate, "shared": shared})

    def grant(self, task: str) -> None:
        """One start of a task is granted."""
        waiting = self._waiting.get(task)
        while waiting:
            execution = waiting.popleft()
            if not execution.ended:
                self._submit(execution)
                return
        self._tell({"is": "unused", "task": task})

    def void(self) -> None:
        """What waits belongs to somebody else now."""
        self._waiting.clear()

    def waiting(self) -> list[Execution]:
        """What waits for its rate limit."""
        return [execution for waiting in list(self._waiting.values()) for execution in list(waiting)]

    def _send_back(self, execution: Execution, rate: float, ahead: int) -> None:
        task, now = execution.request.task, self._now()
        # One after another, at the rate: they are not to come back all at once.
        until = max(self._delayed_until.get(task, 0.0), now + ahead / rate) + 1 / rate
        self._delayed_until[task] = until = min(until, now + LONGEST_DELAY)
        eta = datetime.fromtimestamp(now, UTC) + timedelta(seconds=max(1.0, until - now))
        self._delay(execution, TooEarly(eta))
