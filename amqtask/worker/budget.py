"""The budget of restarts: how long a process that died waits for its successor, and when to give up."""

import collections

from amqtask.core.backoff import Backoff
from amqtask.worker.plan import Plan


class RestartBudget:
    """Counts deaths in a window. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._deaths: collections.deque[float] = collections.deque()

    def died(self, plan: Plan, now: float) -> float | None:
        """Seconds until the successor may start; None where the budget is spent.

        The first one at once, for it may have been an accident; the next ones wait longer and longer.
        """
        deaths = self._deaths
        deaths.append(now)
        while deaths[0] < now - plan.restart_window:
            deaths.popleft()
        if len(deaths) > plan.restart_budget:
            return None
        backoff = Backoff(initial=plan.restart_initial, maximum=plan.restart_max, jitter=0.0)
        return 0.0 if len(deaths) == 1 else backoff.delay(len(deaths) - 1, 0.0)
