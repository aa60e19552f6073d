"""Autoscale: how many processes a node should have, by what it has to do."""

KEEP_IDLE = 30.0
"""Seconds for which a process may have nothing to do before one is stopped."""


class Autoscaler:
    """Decides between `fewest` and `most`. Instants are monotonic seconds."""

    def __init__(self, fewest: int, most: int) -> None:
        self.fewest = fewest
        self.most = most
        self._idle_since: float | None = None

    def wanted(self, now: float, *, processes: int, busy: int, waiting: int) -> int:
        """How many processes there should be: `busy` of them execute, and `waiting` messages are held beside."""
        if processes < self.fewest:
            return self.fewest
        if processes > self.most:
            return self.most
        if busy >= processes and waiting:
            self._idle_since = None
            # At the most twice as many: one burst is not to start everything at once.
            return min(self.most, processes + min(waiting, processes))
        if busy == processes or processes == self.fewest:
            self._idle_since = None
            return processes
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < KEEP_IDLE:
            return processes
        self._idle_since = now
        return processes - 1
