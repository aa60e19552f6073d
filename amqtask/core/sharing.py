"""Sharing: one rate limit for all nodes, kept by one of them, the keeper.

Each node *claims*: it says how many starts it has had and how many it wants by now, both counted from its beginning.
So a claim that is repeated, or lost, changes nothing, and a keeper that has just been elected learns all it must know
from the next claims. The keeper grants starts at the rate, to those who wait in turn. Everything here is arithmetic;
instants are the caller's monotonic seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from amqtask.core.message import Json
from amqtask.core.ratelimit import Bucket

REPEAT = 1.0
"""Seconds after which a node that wants starts says so again."""
FORGOTTEN = 5 * REPEAT
"""Seconds after which a node that says nothing wants nothing."""
LISTENING = REPEAT
"""Seconds, at the most, that a new keeper listens before its first grant: when it grants, it has heard every node."""
SETTLED = 5.0
"""Seconds after which a grant has come, or never will."""

NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a node says: `had` starts of all that it ever asked for, `wanted` including those it waits for.

    `rate` is starts a second, as the node knows it; `ago` the seconds since it last had one, None for never.
    """

    rate: float
    wanted: int
    had: int
    ago: float | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits for a start."""
        return self.wanted > self.had

    def to_json(self) -> dict[str, Json]:
        """As a JSON object."""
        return {"rate": self.rate, "wanted": self.wanted, "had": self.had, "ago": self.ago}

    @classmethod
    def from_json(cls, form: Mapping[str, Json]) -> "Claim":
        """From what `to_json` gave.

        Raises:
            ValueError: it is no claim.
        """
        rate, wanted, had, ago = (form.get(name) for name in ("rate", "wanted", "had", "ago"))
        if not (isinstance(rate, (int, float)) and rate > 0 and isinstance(wanted, int) and isinstance(had, int)):
            raise ValueError(f"{form!r} is no claim: it has no rate, wanted and had")
        return cls(rate=float(rate), wanted=wanted, had=had, ago=float(ago) if isinstance(ago, (int, float)) else None)


@dataclass(slots=True)
class _Node:
    claim: Claim
    granted: int
    heard_at: float
    granted_at: float

    @property
    def waits(self) -> bool:
        return self.claim.wanted > self.granted


class Ledger:
    """A keeper's book of one task: who waits, and whose turn it is."""

    def __init__(self, now: float) -> None:
        """A keeper was elected. It knows nothing of the grants before its time."""
        self._elected = now
        self._bucket: Bucket | None = None
        self._nodes: dict[str, _Node] = {}

    def hear(self, name: str, claim: Claim, now: float) -> None:
        """A node claims."""
        bucket = self._bucket
        if bucket is None:
            bucket = self._bucket = Bucket(claim.rate)
        bucket.rate = claim.rate
        if not any(node.waits for node in self._nodes.values()):
            bucket.rest(max(now, self._first(bucket)))
        if claim.ago is not None and now - claim.ago <= self._elected:
            # Granted by the keeper before this one.
            bucket.spent(now - claim.ago)
        node = self._nodes.get(name)
        if node is None:
            self._nodes[name] = _Node(claim, claim.had, now, now)
            return
        node.claim, node.heard_at = claim, now
        # Ahead of the node by what is under way to it; what is so for long was lost.
        node.granted = claim.had if now - node.granted_at > SETTLED else max(node.granted, claim.had)

    def take(self, now: float) -> str | None:
        """The node that may start one now, or None."""
        bucket = self._bucket
        if bucket is None or now < self._first(bucket):
            return None
        for name, node in list(self._nodes.items()):
            if now - node.heard_at > FORGOTTEN:
                del self._nodes[name]
            elif node.waits:
                if not bucket.take(now):
                    return None
                node.granted += 1
                node.granted_at = now
                self._nodes[name] = self._nodes.pop(name)  # the others first, next time
                return name
        return None

    def drop(self, name: str, unused: int) -> None:
        """A node is gone, and so many grants have not reached it."""
        if self._nodes.pop(name, None) is not None and self._bucket is not None:
            for _ in range(unused):
                self._bucket.put_back()

    def due(self, now: float) -> float:
        """The instant of the next grant."""
        bucket = self._bucket
        if bucket is None or not any(node.waits for node in self._nodes.values()):
            return NEVER
        return max(self._first(bucket), bucket.due(now))

    def _first(self, bucket: Bucket) -> float:
        # A keeper before this one may have granted until just now: by then that token's time is over, or the node that
        # had it has said so.
        return self._elected + min(LISTENING, 1.0 / bucket.rate)
