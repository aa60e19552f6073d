"""Cluster: what a stream of events says about nodes and tasks. A pure fold: no clock, no connection.

Events may come twice, in any order, or not at all. A task's state is the furthest that any event told; among those that
are equally far, the one with the later timestamp.
"""

import collections
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Rank: TypeAlias = int

STATES: Mapping[str, tuple[str, Rank]] = {
    "task-sent": ("PENDING", 0),
    "task-received": ("RECEIVED", 1),
    "task-started": ("STARTED", 2),
    "task-retried": ("RETRY", 3),
    "task-rejected": ("REJECTED", 4),
    "task-revoked": ("REVOKED", 4),
    "task-failed": ("FAILURE", 5),
    "task-succeeded": ("SUCCESS", 5),
}
FINAL = 4
FACTS = (
    "name", "args", "kwargs", "retries", "eta", "expires", "root_id", "parent_id", "queue", "exchange", "routing_key",
    "result", "runtime", "exception", "traceback",
)  # fmt: skip

ALIVE_FOR = 2.0
"""A node is alive for so many times the interval of its signs of life."""


@dataclass(slots=True)
class NodeState:
    """A node, as far as events tell."""

    name: str
    online: bool = True
    last: float = 0.0
    """The timestamp of the latest sign, seconds since the epoch by the node's clock."""
    freq: float = 2.0
    facts: dict[str, Any] = field(default_factory=dict)
    """pid, active, processed, loadavg, sw_ident, sw_ver, sw_sys."""

    def is_alive(self, now: float) -> bool:
        """Whether it is there at `now`."""
        return self.online and now - self.last < self.freq * ALIVE_FOR


@dataclass(slots=True)
class TaskState:
    """A task, as far as events tell. `times` are timestamps by the event's type."""

    id: str
    state: str = "PENDING"
    rank: Rank = -1
    changed: float = 0.0
    node: str | None = None
    times: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _fact_times: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The task's name, or a question mark."""
        return str(self.facts.get("name") or "?")

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.rank >= FINAL

    def take(self, event: Mapping[str, Any], at: float) -> None:
        """Learn from an event."""
        kind = event["type"]
        known = STATES.get(kind)
        self.times[kind] = max(at, self.times.get(kind, at))
        for name in FACTS:
            value = event.get(name)
            if value is not None and at >= self._fact_times.get(name, at):
                if at == self._fact_times.get(name) and repr(value) < repr(self.facts[name]):
                    continue  # of two that are equally old, the same one whatever their order
                self.facts[name] = value
                self._fact_times[name] = at
        if known is None:
            return
        state, rank = known
        if (rank, at, state) > (self.rank, self.changed, self.state):
            self.state, self.rank, self.changed = state, rank, at
            if kind != "task-sent":
                self.node = str(event.get("hostname") or "") or None


class Cluster:
    """Nodes by name and tasks by id, the most recently heard of last; the oldest are forgotten."""

    def __init__(self, *, most_tasks: int = 10_000, most_nodes: int = 1000) -> None:
        self._most_tasks = most_tasks
        self._most_nodes = most_nodes
        self.nodes: collections.OrderedDict[str, NodeState] = collections.OrderedDict()
        self.tasks: collections.OrderedDict[str, TaskState] = collections.OrderedDict()
        self.count = 0
        """How many events were taken."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Learn from an event. What is no event changes nothing."""
        kind, host, at = event.get("type"), event.get("hostname"), event.get("timestamp")
        if not isinstance(kind, str) or not isinstance(at, (int, float)) or isinstance(at, bool):
            return
        self.count += 1
        if kind.startswith("worker-") and isinstance(host, str):
            self._node(kind, host, float(at), event)
        elif kind.startswith("task-") and isinstance(event.get("uuid"), str):
            self._task(event["uuid"]).take(event, float(at))

    def alive(self, now: float) -> list[NodeState]:
        """The nodes that are there."""
        return [node for node in self.nodes.values() if node.is_alive(now)]

    def find(self, text: str = "", *, states: frozenset[str] = frozenset()) -> Iterator[TaskState]:
        """Tasks whose id or name holds the text, the latest first."""
        for task in reversed(self.tasks.values()):
            if (not states or task.state in states) and (text in task.id or text in task.name):
                yield task

    def _node(self, kind: str, host: str, at: float, event: Mapping[str, Any]) -> None:
        node = self.nodes.get(host)
        if node is None:
            node = self.nodes[host] = NodeState(host, last=float("-inf"))
            if len(self.nodes) > self._most_nodes:
                self.nodes.popitem(last=False)
        self.nodes.move_to_end(host)
        if at < node.last:
            return
        # Of two that are equally old the farewell counts, in whatever order they come.
        if at > node.last or kind == "worker-offline":
            node.online = kind != "worker-offline"
        node.last = at
        freq = event.get("freq")
        if isinstance(freq, (int, float)) and freq > 0:
            node.freq = float(freq)
        for name in ("pid", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"):
            if event.get(name) is not None:
                node.facts[name] = event[name]

    def _task(self, task_id: str) -> TaskState:
        task = self.tasks.get(task_id)
        if task is None:
            task = self.tasks[task_id] = TaskState(task_id)
            if len(self.tasks) > self._most_tasks:
                self.tasks.popitem(last=False)
        self.tasks.move_to_end(task_id)
        return task
