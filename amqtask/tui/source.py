"""Source: what the live view shows, gathered by a thread of its own, and what it may change."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from amqtask.control.client import AppControl
from amqtask.drivers.base import Connection
from amqtask.errors import AmqtaskError
from amqtask.events.cluster import Cluster, TaskState
from amqtask.events.receiver import AppEvents
from amqtask.queueview import QueueView, look

EVERY = 1.0
"""Seconds between two questions to the nodes."""
PATIENCE = 3
"""So many answers in a row without a task mean that it is over, though no event said so."""
MOST_TASKS = 500
"""Tasks in a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node now."""

    name: str
    state: str
    processes: int
    active: int
    reserved: int
    processed: int
    rate: float
    load: float
    uptime: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue now."""

    name: str
    ready: int | None
    consumers: int | None
    rate: float
    """By how many messages a second it grows."""
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A task, as far as its events tell."""

    id: str
    name: str
    state: str
    node: str
    changed: float
    args: str
    kwargs: str
    result: str
    traceback: str
    times: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is shown at one time."""

    nodes: tuple[NodeRow, ...] = ()
    queues: tuple[QueueRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    events: int = 0
    error: str = ""


class Source(Protocol):
    """Where the view gets its data, and whom it asks to change things. Calls return at once, or soon."""

    def snapshot(self) -> Snapshot:
        """What is known now."""
        ...

    def command(self, method: str, arguments: dict[str, Any], node: str | None = None) -> str:
        """Have nodes do something; what they said, on one line."""
        ...


def task_row(task: TaskState) -> TaskRow:
    """A task of a cluster as a row."""
    facts = task.facts
    return TaskRow(
        id=task.id,
        name=task.name,
        state=task.state,
        node=task.node or "",
        changed=max(task.times.values(), default=0.0),
        args=str(facts.get("args") or ""),
        kwargs=str(facts.get("kwargs") or ""),
        result=str(facts.get("result") if facts.get("result") is not None else facts.get("exception") or ""),
        traceback=str(facts.get("traceback") or ""),
        times=dict(task.times),
    )


@dataclass(slots=True)
class Rates:
    """Differences of counters over time."""

    _last: dict[str, tuple[float, float]] = field(default_factory=dict)

    def rate(self, name: str, value: float, now: float) -> float:
        """By how much a counter grew a second since it was last seen."""
        before = self._last.get(name)
        self._last[name] = (now, value)
        if before is None or now <= before[0]:
            return 0.0
        return (value - before[1]) / (now - before[0])


@dataclass(slots=True)
class Running:
    """Tasks of whose beginning no event was heard, as the nodes that execute them tell."""

    _absent: dict[str, int] = field(default_factory=dict)
    """By a task's id, how often in a row no node said that it executes it."""

    def fold(self, cluster: Cluster, active: Mapping[str, Any]) -> None:
        """Take the answers to `active` into a cluster. Where nobody tells of its end, a task goes when it is over."""
        seen = {str(item.get("id")): (node, item) for node, found in active.items() for item in _listed(found)}
        for task_id, (node, item) in seen.items():
            known = cluster.tasks.get(task_id)
            if task_id in self._absent or known is None or "name" not in known.facts:
                self._absent[task_id] = 0
                cluster.take(_started(task_id, node, item))
        for task_id in self._absent.keys() - seen.keys():
            self._absent[task_id] += 1
            if self._absent[task_id] > PATIENCE:
                del self._absent[task_id]
                if task_id in cluster.tasks and cluster.tasks[task_id].state == "STARTED":
                    del cluster.tasks[task_id]


def _started(task_id: str, node: str, item: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: item[name] for name in ("name", "args", "kwargs") if name in item}
    return {"type": "task-started", "uuid": task_id, "hostname": node, "timestamp": item.get("time_start"), **facts}


class LiveSource:
    """The nodes of an app's broker. A context manager; its thread asks and listens while it is open."""

    def __init__(
        self, control: AppControl, events: AppEvents, queues: tuple[str, ...], connect: Callable[[], Connection]
    ) -> None:
        """`queues` are always shown; `connect` opens a connection to ask for their depth."""
        self._control = control
        self._events = events
        self._queues = queues
        self._connect = connect
        self._cluster = Cluster()
        self._rates = Rates()
        self._running = Running()
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=target, name="amqtask-top", daemon=True) for target in (self._listen, self._ask)
        ]

    def __enter__(self) -> "LiveSource":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(10.0)

    def snapshot(self) -> Snapshot:
        """What is known now."""
        with self._lock:
            tasks = tuple(task_row(task) for _, task in zip(range(MOST_TASKS), self._cluster.find(), strict=False))
            now = self._snapshot
            return Snapshot(
                nodes=now.nodes, queues=now.queues, tasks=tasks, events=self._cluster.count, error=now.error
            )

    def command(self, method: str, arguments: dict[str, Any], node: str | None = None) -> str:
        """Have nodes do something."""
        control = self._control.to(*([node] if node else []), limit=len(self._snapshot.nodes) or None)
        if node:
            control = self._control.to(node)
        try:
            answers = control.call(method, arguments)
        except AmqtaskError as error:
            return str(error)
        return "; ".join(f"{name}: {_said(answer)}" for name, answer in sorted(answers.items())) or "nobody answered"

    def _listen(self) -> None:
        with self._events.receiver() as receiver:
            while not self._stopping.is_set():
                try:
                    found = receiver.next(0.2)
                except AmqtaskError:
                    self._stopping.wait(EVERY)
                    continue
                if found is not None:
                    with self._lock:
                        self._cluster.take(found)

    def _ask(self) -> None:
        expected: int | None = None
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                nodes = self._control.to(limit=expected)
                stats = nodes.call("stats")
                those = self._control.to(limit=len(stats) or None)
                queues = those.call("active_queues") if stats else {}
                active = those.call("active", {"safe": True}) if stats else {}
                # Once in a while nobody is expected, so that new ones are seen: each time that all answered.
                expected = None if expected else len(stats) or None
                error = "" if stats else "no node answers"
                depths = self._depths(queues)
            except AmqtaskError as failure:
                stats, queues, active, depths, error = {}, {}, {}, {}, str(failure)
            now = time.monotonic()
            fresh = Snapshot(
                nodes=tuple(self._node(name, stats[name], now) for name in sorted(stats)),
                queues=tuple(self._queue(view, _paused(queues), now) for view in depths.values()),
                error=error,
            )
            with self._lock:
                self._running.fold(self._cluster, active)
                self._snapshot = fresh
            self._stopping.wait(max(0.1, EVERY - (time.monotonic() - begun)))

    def _depths(self, queues: Mapping[str, Any]) -> dict[str, QueueView]:
        names = dict.fromkeys(
            [*self._queues, *(queue["name"] for found in queues.values() for queue in _listed(found))]
        )
        connection = self._connect()
        try:
            return look(connection, names)
        finally:
            connection.close()

    def _node(self, name: str, stats: Any, now: float) -> NodeRow:
        facts = stats if isinstance(stats, dict) else {}
        pool, load, total = facts.get("pool") or {}, facts.get("loadavg"), facts.get("total") or {}
        processed = int(facts.get("processed", sum(total.values()) if isinstance(total, dict) else 0))
        return NodeRow(
            name=name,
            state="error" if "error" in facts else "online",
            processes=len(pool.get("processes") or ()),
            active=int(facts.get("active") or 0),
            reserved=int(facts.get("reserved") or 0),
            processed=processed,
            rate=self._rates.rate(f"node {name}", processed, now),
            load=float(load[0]) if load else 0.0,
            uptime=int(facts.get("uptime") or 0),
            version=str(facts.get("version") or "-"),
        )

    def _queue(self, view: QueueView, paused: frozenset[str], now: float) -> QueueRow:
        rate = self._rates.rate(f"queue {view.name}", view.ready or 0, now)
        return QueueRow(
            name=view.name, ready=view.ready, consumers=view.consumers, rate=rate, paused=view.name in paused
        )


def _listed(found: Any) -> list[dict[str, Any]]:
    return [queue for queue in found if isinstance(queue, dict)] if isinstance(found, list) else []


def _paused(queues: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(queue["name"] for found in queues.values() for queue in _listed(found) if queue.get("paused"))


def _said(answer: Any) -> str:
    if isinstance(answer, dict):
        return str(answer.get("ok") or answer.get("error") or answer)
    return str(answer)
