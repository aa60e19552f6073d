"""Answers: what a process says of itself when its supervisor asks."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from amqtask.core.message import Json
from amqtask.core.protocol import read_body
from amqtask.core.standing import texts
from amqtask.errors import MessageError
from amqtask.worker.execution import Execution
from amqtask.worker.objects import draw

if TYPE_CHECKING:
    from amqtask.worker.node import Node

MOST_LISTED = 1000
LONGEST_ARGUMENTS = 4096
"""Characters; longer arguments are shown cut."""


def answer(node: "Node", question: str, arguments: Mapping[str, Json]) -> Json:
    """The answer to a question. From any thread.

    Raises:
        KeyError: there is no such question.
    """
    return QUESTIONS[question](node, arguments)


def describe(node: "Node", execution: Execution, *, safe: bool = False) -> dict[str, Json]:
    """An execution in Celery's form (its `Request.info`)."""
    args, kwargs = _arguments(node, execution, safe=safe)
    request, delivery = execution.request, execution.delivery
    return {
        "id": execution.id,
        "name": request.task,
        "args": args,
        "kwargs": kwargs,
        "type": request.task,
        "hostname": node.options.name,
        "time_start": node.wall_time(execution.started) if execution.started else None,
        "acknowledged": execution.acked,
        "delivery_info": {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": request.priority or 0,
            "redelivered": delivery.redelivered,
        },
        "worker_pid": os.getpid() if execution.started else None,
        "queue": execution.queue,
        "retries": request.retries,
    }


def _arguments(node: "Node", execution: Execution, *, safe: bool) -> tuple[Json, Json]:
    request = execution.request
    body = execution.body
    if body is None:
        try:
            body = read_body(request, accept=node.accept, max_decompressed_size=LONGEST_ARGUMENTS * 16)
        except MessageError:
            return request.argsrepr, request.kwargsrepr
    if safe:
        return _cut(repr(body.args)), _cut(repr(dict(body.kwargs)))
    text = json.dumps([body.args, body.kwargs], default=repr)
    if len(text) > LONGEST_ARGUMENTS:
        return _cut(repr(body.args)), _cut(repr(dict(body.kwargs)))
    args, kwargs = json.loads(text)
    return args, kwargs


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_ARGUMENTS else text[:LONGEST_ARGUMENTS] + "…"


def _list(node: "Node", executions: Iterable[Execution], arguments: Mapping[str, Json]) -> Json:
    safe = arguments.get("safe") is True
    return [describe(node, execution, safe=safe) for execution in list(executions)[:MOST_LISTED]]


def _active(node: "Node", arguments: Mapping[str, Json]) -> Json:
    return _list(node, node.active(), arguments)


def _reserved(node: "Node", arguments: Mapping[str, Json]) -> Json:
    return _list(node, node.reserved(), arguments)


def _scheduled(node: "Node", arguments: Mapping[str, Json]) -> Json:
    limited = set(node.steering.gate.waiting())
    now = datetime.now(UTC)
    found: list[Json] = []
    for execution in node.reserved()[:MOST_LISTED]:
        eta = execution.request.eta
        if execution in limited or (eta is not None and eta > now):
            found.append(
                {
                    "eta": None if eta is None else eta.isoformat(),
                    "priority": 6,
                    "request": describe(node, execution),
                    "limited": execution in limited,
                }
            )
    return found


def _query_task(node: "Node", arguments: Mapping[str, Json]) -> Json:
    wanted = set(texts(arguments.get("ids")))
    found: dict[str, Json] = {}
    for state, executions in (("reserved", node.reserved()), ("active", node.active())):
        for execution in executions:
            if execution.id in wanted:
                found[execution.id] = [state, describe(node, execution)]
    return found


def _stats(node: "Node", arguments: Mapping[str, Json]) -> Json:
    counters = node.finisher.counters
    return {
        "total": dict(node.steering.started),
        "outcomes": {
            "succeeded": counters.succeeded,
            "failed": counters.failed,
            "retried": counters.retried,
            "rejected": counters.rejected,
            "revoked": counters.revoked,
            "refused": counters.refused,
        },
    }


def _terminate(node: "Node", arguments: Mapping[str, Json]) -> Json:
    ids: list[Json] = [*node.steering.terminate(arguments)]
    return ids


QUESTIONS: Mapping[str, Callable[["Node", Mapping[str, Json]], Json]] = {
    "active": _active,
    "reserved": _reserved,
    "scheduled": _scheduled,
    "query_task": _query_task,
    "stats": _stats,
    "terminate": _terminate,
    "objgraph": lambda node, arguments: draw(arguments),
}
