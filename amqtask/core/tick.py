"""What a tick's message says of itself, and the rule by which workers drop the second of a pair.

The message of a tick has the id that `core.entry.tick_id` makes of entry and due time, whoever sends it and how often.
Each time that it is published it is another *copy*, named in a header. Of a tick in a queue the copy counts that
claims it first; a message that the broker delivers again is the same copy and may run again.
"""

from collections.abc import MutableMapping

COPY = "x-aqt-tick"
"""The header that names the copy, and by which a worker knows a tick."""

DUE = "x-aqt-due"
"""The header that says when the tick was due, in ISO 8601."""

CLAIMS = "aqt.ticks"
"""The stream to which workers append their claims."""

WINDOW = 600
"""Seconds for which claims are remembered. Two copies of a tick are published within seconds of each other, and wait
in the same queue."""

MOST_CLAIMS = 100_000


class Claims:
    """Who claimed what, in the order of the log. Bounded: the oldest are forgotten."""

    def __init__(self, limit: int = MOST_CLAIMS) -> None:
        self._limit = limit
        self._holders: MutableMapping[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def record(self, tick: str, queue: str, copy: str) -> bool:
        """Count a claim; whether this copy is the one that may run."""
        holder = self._holders.setdefault((tick, queue), copy)
        if len(self._holders) > self._limit:
            del self._holders[next(iter(self._holders))]
        return holder == copy

    def clear(self) -> None:
        """Forget all of it: the log is going to be read anew."""
        self._holders.clear()
