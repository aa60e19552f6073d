"""Telling: the events of tasks in one process, off unless they are wanted, and the records of workflows' steps."""

from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from amqtask.core.outcome import Failure, Outcome, Refused, Rejected, RetryWanted, Revoked, Success
from amqtask.core.request import Request
from amqtask.core.workflow import MARK
from amqtask.events.emitter import Emitter
from amqtask.events.model import cut
from amqtask.worker.execution import Execution
from amqtask.worker.steps import Steps
from amqtask.workflowlog import WorkflowLog

if TYPE_CHECKING:
    from amqtask.worker.node import Node

Fields: TypeAlias = dict[str, str | float | bool | None]


class Telling:
    """Makes events of what happens to executions. `switch` from any thread."""

    def __init__(self, node: "Node", exchange: str, *, workflows: bool) -> None:
        """`workflows`: the steps of workflows are recorded, whether or not events are wanted."""
        self._node = node
        self._exchange = exchange
        self._emitter: Emitter | None = None
        self.on = False
        self._log: WorkflowLog | None = None
        self._steps: Steps | None = None
        if workflows:
            self._log = WorkflowLog(clock=node.clock, publisher=lambda: node.publisher, later=node.call_later)
            self._steps = Steps(self._log, node.options.name)
            node.finisher.step_ended = self._step_ended

    def switch(self, on: bool) -> None:
        """Send events, or none."""
        if on and self._emitter is None:
            node = self._node
            self._emitter = Emitter(
                node=node.options.name,
                exchange=self._exchange,
                clock=node.clock,
                publisher=lambda: node.publisher,
                later=node.call_later,
            )
        self.on = on
        self._node.finisher.emit = self.ended if on else None

    def close(self) -> None:
        """Send what waits."""
        if self._emitter is not None:
            self._emitter.flush()
        if self._log is not None:
            self._log.flush()

    def received(self, execution: Execution) -> None:
        """A task came."""
        if not self.on:
            return
        self._emit("task-received", execution, arrival(execution.request, execution.queue))

    def started(self, execution: Execution) -> None:
        """A task got its slot."""
        if self.on:
            self._emit("task-started", execution, {"name": execution.request.task})
        if self._steps is not None and MARK in execution.request.headers:
            self._steps.started(execution, self._node.wall_time(execution.started))

    def ended(self, kind: str, execution: Execution, outcome: Outcome) -> None:
        """A task ended, one way or another."""
        self._emit(kind, execution, ending(outcome))

    def _step_ended(self, execution: Execution, outcome: Outcome) -> None:
        if self._steps is not None:
            self._steps.ended(execution, outcome, self._node.clock.time())

    def _emit(self, kind: str, execution: Execution, fields: Fields) -> None:
        emitter = self._emitter
        if emitter is not None:
            emitter.emit(kind, {"uuid": execution.id, **fields})


def arrival(request: Request, queue: str) -> Fields:
    """What task-received says of a message from a queue."""
    return {
        "name": request.task,
        "args": cut(request.argsrepr or "()"),
        "kwargs": cut(request.kwargsrepr or "{}"),
        "retries": request.retries,
        "eta": _iso(request.eta),
        "expires": _iso(request.expires),
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "queue": queue,
        "routing_key": request.delivery.routing_key,
        "exchange": request.delivery.exchange,
    }


def ending(outcome: Outcome) -> Fields:
    """What the last event of a task says of how it ended."""
    if isinstance(outcome, Success):
        return {"result": cut(repr(outcome.value)), "runtime": outcome.runtime}
    if isinstance(outcome, Failure):
        return {"exception": cut(repr(outcome.error)), "traceback": outcome.traceback, "runtime": outcome.runtime}
    if isinstance(outcome, RetryWanted):
        return {"exception": cut(repr(outcome.error)), "traceback": outcome.traceback, "retries": outcome.retries}
    if isinstance(outcome, Rejected):
        return {"requeue": outcome.requeue}
    if isinstance(outcome, Refused):
        return {"requeue": False, "exception": outcome.detail}
    if isinstance(outcome, Revoked):
        return {"terminated": outcome.terminated, "signum": outcome.signal, "expired": outcome.expired}
    return {}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
