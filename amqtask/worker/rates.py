"""Rates: the supervisor's side of rate limits. What processes want is granted at the rate, to each in turn.

A limit of the node has a bucket here. One of the cluster is kept by one node for all (`worker.shares`): it is told what
is wanted here, and its grants are handed on.
"""

import collections
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from amqtask.core.ratelimit import Bucket
from amqtask.core.sharing import Claim
from amqtask.worker.pipe import Note

if TYPE_CHECKING:
    from amqtask.worker.node import Node

NEVER = float("inf")


class Grantee(Protocol):
    """A process whose tasks wait for their starts."""

    def send(self, note: Note) -> bool:
        """Tell it of a grant; whether it was there to hear it."""
        ...


class Rates:
    """Grants starts. Everything belongs to the supervisor's thread."""

    def __init__(self, claim: Callable[[str, Claim], None]) -> None:
        """`claim` tells the keeper of a cluster's limit what is wanted of a task by this node."""
        self._claim = claim
        self._buckets: dict[str, Bucket] = {}
        self._wanting: dict[str, collections.deque[Grantee]] = {}
        self._spare: collections.Counter[str] = collections.Counter()
        self._resting: set[str] = set()
        """Tasks that nobody wanted to start when it was looked last."""
        self._shared: dict[str, int] = {}
        """Tasks whose limit is the cluster's, and how many starts the node has had of each."""
        self._claimed: dict[str, Claim] = {}

    def want(self, process: Grantee, task: str, rate: float, *, shared: bool = False) -> None:
        """A process has an execution of a task that waits for its start; `shared`: the limit is the whole cluster's."""
        bucket = self._buckets.setdefault(task, Bucket(rate))
        bucket.rate = rate
        self._wanting.setdefault(task, collections.deque()).append(process)
        if shared:
            self._shared.setdefault(task, 0)

    def granted(self, task: str, count: int) -> None:
        """The keeper of a cluster's limit grants starts."""
        self._shared[task] = self._shared.get(task, 0) + count
        self._spare[task] += count

    def unused(self, task: str) -> None:
        """A grant came too late for its execution: another one may have it."""
        self._spare[task] += 1

    def gone(self, process: Grantee) -> None:
        """It wants nothing any more."""
        for wanting in self._wanting.values():
            while process in wanting:
                wanting.remove(process)

    def turn(self, now: float) -> float:
        """Grant what may start; the instant of the next grant."""
        due = NEVER
        for task, wanting in self._wanting.items():
            bucket = self._buckets[task]
            if wanting and task in self._resting:
                self._resting.remove(task)
                bucket.rest(now)
            while wanting and self._may_start(task, bucket, now):
                note: Note = {"do": "grant", "task": task}
                wanting.popleft().send(note)
            if task in self._shared:
                self._tell(task, bucket.rate, len(wanting))
            elif wanting:
                due = min(due, bucket.due(now))
            if not wanting:
                self._resting.add(task)
                # A grant that nobody can use is not saved up.
                self._spare.pop(task, None)
        return due

    def _may_start(self, task: str, bucket: Bucket, now: float) -> bool:
        if self._spare[task]:
            self._spare[task] -= 1
            return True
        return task not in self._shared and bucket.take(now)

    def _tell(self, task: str, rate: float, waiting: int) -> None:
        had = self._shared[task]
        claim = Claim(rate=rate, wanted=had + waiting, had=had)
        if self._claimed.get(task) != claim:
            self._claimed[task] = claim
            self._claim(task, claim)


class OwnRates:
    """A node without a supervisor keeps its limits itself, those of a cluster as well: as if it were alone."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._rates = Rates(lambda task, claim: None)

    def hear(self, note: Note) -> None:
        """What the node's gate says, on its session's thread."""
        if note["is"] == "want":
            self._rates.want(self, note["task"], note["rate"])
        else:
            self._rates.unused(note["task"])
        self._turn()

    def send(self, note: Note) -> bool:
        """A grant, to the gate."""
        self._node.steering.grant(note["task"])
        return True

    def _turn(self) -> None:
        now = self._node.clock.monotonic()
        due = self._rates.turn(now)
        if due != NEVER:
            self._node.call_later(due - now, self._turn)
