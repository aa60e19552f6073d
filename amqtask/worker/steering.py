"""Steering: what remote control has set, as one process of a node obeys it."""

import collections
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from amqtask.core.message import Json
from amqtask.core.outcome import Revoked
from amqtask.core.request import Request
from amqtask.core.standing import MOST_REVOKED, texts
from amqtask.core.workflow import ERRBACK, MARK
from amqtask.effective import Effective
from amqtask.errors import SoftTimeLimitExceeded
from amqtask.log import event, get_logger
from amqtask.worker.consumer import Subscription
from amqtask.worker.execution import Execution
from amqtask.worker.gate import Gate
from amqtask.worker.pipe import Note
from amqtask.worker.report import label
from amqtask.worker.telling import Telling

if TYPE_CHECKING:
    from amqtask.worker.node import Node

logger = get_logger("control")


class Steering:
    """Obeys orders. `begin` before the node starts; `obey` from any thread."""

    def __init__(self, node: "Node", telling: Telling) -> None:
        self._node = node
        self.telling = telling
        self.tell: Callable[[Note], None] = lambda note: None
        """To the supervisor."""
        self.started: collections.Counter[str] = collections.Counter()
        """How many executions were started, by task."""
        self._revoked: dict[str, None] = {}
        self._roots: dict[str, None] = {}
        self._stamped: set[tuple[str, str]] = set()
        self._soft_hard: dict[str, tuple[float | None, float | None]] = {}
        self._limited: dict[str, Effective] = {}
        self._events = False
        self._consumers: dict[str, bool] = {}
        self._paused: set[str] = set()
        self.gate = Gate(
            tell=lambda note: self.tell(note),
            submit=node.executor.submit,
            delay=node.drop,
            window=lambda queue: node.flow.window(queue),
            now=node.clock.time,
        )

    def begin(self, orders: list[Note], tell: Callable[[Note], None], *, events: bool) -> None:
        """Obey what holds already, before the node is started."""
        self.tell = tell
        self._events = events
        self.telling.switch(events)
        for order in orders:
            self._obey(order["method"], order["arguments"])
        self._consume()

    def obey(self, method: str, arguments: Mapping[str, Json]) -> None:
        """Obey an order, soon."""
        self._node.session.call_soon(lambda: self._obey_now(method, arguments))

    def grant(self, task: str) -> None:
        """A start of a rate-limited task is granted."""
        self._node.session.call_soon(lambda: self.gate.grant(task))

    # What the node asks

    def is_revoked(self, request: Request) -> bool:
        """Whether a task is not to be started."""
        if request.id in self._revoked:
            return True
        if self._roots and request.root_id in self._roots and request.headers.get(MARK) != ERRBACK:
            # Who is told of a failure hears of this one, too.
            return True
        if not self._stamped:
            return False
        return any((name, text) in self._stamped for name in request.stamps for text in texts(request.stamps[name]))

    def effective(self, effective: Effective) -> Effective:
        """A task's settings with the limits that were set."""
        limits = self._soft_hard.get(effective.name)
        if limits is None:
            return effective
        limited = self._limited.get(effective.name)
        if limited is None:
            limited = replace(effective, soft_time_limit=limits[0], time_limit=limits[1])
            self._limited[effective.name] = limited
        return limited

    def terminate(self, arguments: Mapping[str, Json]) -> list[str]:
        """End what runs of these ids, of these roots, or with these stamps; the ids of what was ended."""
        ids, name = set(texts(arguments.get("ids"))), str(arguments.get("signal"))
        roots = set(texts(arguments.get("roots")))
        headers = arguments.get("headers")
        stamps = {(k, text) for k, v in headers.items() for text in texts(v)} if isinstance(headers, dict) else set()

        def is_meant(execution: Execution) -> bool:
            return execution.id in ids or execution.request.root_id in roots or _has_stamp(execution, stamps)

        found = [execution for execution in self._node.active() if not execution.ended and is_meant(execution)]
        for execution in found:
            self._end(execution, name)
        return [execution.id for execution in found]

    def _end(self, execution: Execution, name: str) -> None:
        node = self._node
        if name == "SIGUSR1":
            # Celery's way to have a task see its soft limit.
            node.executor.interrupt(execution, SoftTimeLimitExceeded)
            return
        logger.warning("%s is terminated (%s)", label(execution), name, extra=event("terminated", task_id=execution.id))

        def settle() -> None:
            node.finisher.finish(execution, Revoked(terminated=True, signal=name))
            if node.executor.abilities.hard_limit:
                node.doom(execution)
            else:
                # Threads and loops cannot be killed; the code gets an exception at its next chance.
                node.executor.interrupt(execution, SoftTimeLimitExceeded)

        node.session.call_soon(settle)

    # Orders: the session's thread

    def _obey_now(self, method: str, arguments: Mapping[str, Json]) -> None:
        self._obey(method, arguments)
        if method in ("revoke", "revoke_root", "revoke_by_stamped_headers"):
            for execution in self._node.reserved():
                if self.is_revoked(execution.request):
                    self._node.drop(execution, Revoked())
        elif method in ("add_consumer", "cancel_consumer", "pause", "resume"):
            self._consume()

    def _obey(self, method: str, arguments: Mapping[str, Json]) -> None:
        queue, task = str(arguments.get("queue")), str(arguments.get("task_name"))
        match method:
            case "revoke":
                _remember(self._revoked, texts(arguments.get("task_id")))
            case "revoke_root":
                _remember(self._roots, texts(arguments.get("root_id")))
            case "revoke_by_stamped_headers":
                headers = arguments.get("headers")
                for name, values in headers.items() if isinstance(headers, dict) else ():
                    self._stamped.update((name, text) for text in texts(values))
            case "rate_limit":
                self.gate.limit(task, arguments.get("rate_limit"))
            case "time_limit":
                self._soft_hard[task] = (_seconds(arguments.get("soft")), _seconds(arguments.get("hard")))
                self._limited.pop(task, None)
            case "add_consumer" | "cancel_consumer":
                self._consumers[queue] = method == "add_consumer"
            case "pause":
                self._paused.add(queue)
            case "resume":
                self._paused.discard(queue)
            case "enable_events" | "disable_events":
                self.telling.switch(method == "enable_events")
            case "forget":
                self._forget(str(arguments.get("key")))

    def _forget(self, key: str) -> None:
        kind, _, name = key.partition(":")
        match kind:
            case "revoke":
                self._revoked.pop(name, None)
            case "root":
                self._roots.pop(name, None)
            case "stamped":
                header, _, value = name.partition("=")
                self._stamped.discard((header, value))
            case "rate_limit":
                self.gate.forget(name)
            case "time_limit":
                self._soft_hard.pop(name, None)
                self._limited.pop(name, None)
            case "consumer":
                self._consumers.pop(name, None)
            case "pause":
                self._paused.discard(name)
            case "events":
                self.telling.switch(self._events)
        self._consume()

    def _consume(self) -> None:
        """Have exactly those queues consumed that are wanted now."""
        node = self._node
        wanted = dict.fromkeys(node.options.queues)
        for queue, on in self._consumers.items():
            wanted.pop(queue, None)
            if on:
                wanted[queue] = None
        for queue in self._paused:
            wanted.pop(queue, None)
        consumed = node.consumer.queues
        for queue in consumed:
            if queue not in wanted:
                node.consumer.remove(queue)
        for queue in wanted:
            if queue not in consumed:
                node.consumer.add(Subscription(queue=queue, prefetch=node.flow.window(queue)))


def _remember(ids: dict[str, None], more: list[str]) -> None:
    ids.update(dict.fromkeys(more))
    while len(ids) > MOST_REVOKED:
        del ids[next(iter(ids))]


def _has_stamp(execution: Execution, stamps: set[tuple[str, str]]) -> bool:
    return any((name, text) in stamps for name, value in execution.request.stamps.items() for text in texts(value))


def _seconds(value: Json) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
