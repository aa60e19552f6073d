"""Autoscale: how many processes a node should have, by what it has to do."""

KEEP_IDLE = 30.0
"""Seconds for which a process may have nothing to do before one is stopped."""
KEEP_BUSY = 5.0
"""Seconds for which all processes may be busy before one more is started though nothing is seen to wait.

Of long tasks none waits here for more than half a second: what finds no free slot goes back to the broker.
"""


class Autoscaler:
    """Decides between `fewest` and `most`. Instants are monotonic seconds."""

    def __init__(self, fewest: int, most: int) -> None:
        self.fewest = fewest
        self.most = most
        self._idle_since: float | None = None
        self._busy_since: float | None = None

    def wanted(self, now: float, *, processes: int, busy: int, waiting: int) -> int:
        """How many processes there should be: `busy` of them execute, and `waiting` messages are held beside."""
        if processes < self.fewest:
            return self.fewest
        if processes > self.most:
            return self.most
        if busy < processes:
            self._busy_since = None
        elif waiting or now - self._begin_of_busy(now) >= KEEP_BUSY:
            self._idle_since = self._busy_since = None
            # At the most twice as many: one burst is not to start everything at once.
            return min(self.most, processes + max(1, min(waiting, processes)))
        if busy >= processes or processes == self.fewest:
            self._idle_since = None
            return processes
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < KEEP_IDLE:
            return processes
        self._idle_since = now
        return processes - 1

    def _begin_of_busy(self, now: float) -> float:
        if self._busy_since is None:
            self._busy_since = now
        return self._busy_since
