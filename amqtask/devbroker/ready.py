"""Ready: the messages of a queue that wait for a consumer, in the order in which they leave."""

import heapq
from collections import deque
from collections.abc import Iterator

from amqtask.devbroker.message import Entry


class Lane:
    """Entries by sequence. New ones come in order; those that are given back find their old place."""

    __slots__ = ("_fresh", "_returned")

    def __init__(self) -> None:
        self._fresh: deque[Entry] = deque()
        self._returned: list[tuple[int, Entry]] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned)

    def append(self, entry: Entry) -> None:
        self._fresh.append(entry)

    def restore(self, entry: Entry) -> None:
        heapq.heappush(self._returned, (entry.sequence, entry))

    def peek(self) -> Entry:
        if self._returned and (not self._fresh or self._returned[0][0] < self._fresh[0].sequence):
            return self._returned[0][1]
        return self._fresh[0]

    def pop(self) -> Entry:
        if self._returned and (not self._fresh or self._returned[0][0] < self._fresh[0].sequence):
            return heapq.heappop(self._returned)[1]
        return self._fresh.popleft()

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted((*self._fresh, *(entry for _, entry in self._returned)), key=lambda entry: entry.sequence))


class Ready:
    """Strict priorities: the highest lane first, each lane by sequence."""

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {0: Lane()}
        self._levels = [0]
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for level in self._levels:
            yield from self._lanes[level]

    def append(self, entry: Entry, level: int = 0) -> None:
        """Put a new entry behind all others of its level."""
        self._lane(level).append(entry)
        self._added(entry)

    def restore(self, entry: Entry, level: int = 0) -> None:
        """Put an entry back where it was taken from."""
        self._lane(level).restore(entry)
        self._added(entry)

    def peek(self) -> Entry:
        return self._first().peek()

    def pop(self) -> Entry:
        entry = self._first().pop()
        self._removed(entry)
        return entry

    @property
    def levels(self) -> list[int]:
        """Every level that has had an entry, the highest first."""
        return list(self._levels)

    def head(self, level: int) -> Entry | None:
        """The first entry of a level."""
        lane = self._lanes[level]
        return lane.peek() if lane else None

    def pop_head(self, level: int) -> Entry:
        """Take the first entry of a level out, whatever stands above it."""
        entry = self._lanes[level].pop()
        self._removed(entry)
        return entry

    def clear(self) -> list[Entry]:
        """Take everything out."""
        entries = list(self)
        self._lanes = {0: Lane()}
        self._levels = [0]
        self._count = self.bytes = 0
        return entries

    def _first(self) -> Lane:
        for level in self._levels:
            lane = self._lanes[level]
            if lane:
                return lane
        raise LookupError("nothing is ready")

    def _lane(self, level: int) -> Lane:
        lane = self._lanes.get(level)
        if lane is None:
            lane = self._lanes[level] = Lane()
            self._levels = sorted(self._lanes, reverse=True)
        return lane

    def _added(self, entry: Entry) -> None:
        self._count += 1
        self.bytes += entry.message.size

    def _removed(self, entry: Entry) -> None:
        self._count -= 1
        self.bytes -= entry.message.size


class ReturnsFirst(Ready):
    """As a quorum queue orders: what was given back leaves first, in the order in which it was given back."""

    def __init__(self) -> None:
        super().__init__()
        self._returns: deque[Entry] = deque()

    def __iter__(self) -> Iterator[Entry]:
        yield from self._returns
        yield from super().__iter__()

    def give_back(self, entry: Entry) -> None:
        self._returns.append(entry)
        self._added(entry)

    def peek(self) -> Entry:
        return self._returns[0] if self._returns else super().peek()

    def pop(self) -> Entry:
        if not self._returns:
            return super().pop()
        entry = self._returns.popleft()
        self._removed(entry)
        return entry

    def clear(self) -> list[Entry]:
        entries = super().clear()
        self._returns.clear()
        return entries


class TwoLevels(ReturnsFirst):
    """RabbitMQ 4.0's quorum queues: two of the high level, then one of the normal, as long as both have some."""

    HIGH, NORMAL = 1, 0
    WEIGHT = 2

    def __init__(self) -> None:
        super().__init__()
        # Counts every message that leaves, of either level, and starts again after WEIGHT (rabbit_fifo_q.erl of 4.0).
        self._turn = 0

    def pop(self) -> Entry:
        if self._returns:
            return super().pop()
        entry = self._first().pop()
        self._turn = 0 if self._turn == self.WEIGHT else self._turn + 1
        self._removed(entry)
        return entry

    def _first(self) -> Lane:
        normal = self._lanes[self.NORMAL]
        if self._turn == self.WEIGHT and normal:
            return normal
        return super()._first()
