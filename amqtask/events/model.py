"""Events on the wire: Celery's types, fields and routing keys."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from amqtask.core.declare import DeclareExchange, Recipe
from amqtask.core.message import TRANSIENT, Envelope

Event: TypeAlias = Mapping[str, Any]
"""`type`, `hostname`, `timestamp` (seconds since the epoch), `pid`, `clock`, `utcoffset`, and the type's own fields."""

BATCH_KEY = "task.multi"
MAX_BODY = 4 * 2**20
LONGEST_TEXT = 1024
"""Characters of a result's or an argument's repr in an event."""

TASK_TYPES = (
    "task-sent",
    "task-received",
    "task-started",
    "task-succeeded",
    "task-failed",
    "task-rejected",
    "task-revoked",
    "task-retried",
)
WORKER_TYPES = ("worker-online", "worker-heartbeat", "worker-offline")


def exchange(name: str) -> DeclareExchange:
    """The exchange that takes events to those who watch."""
    return DeclareExchange(name=name, type="topic", durable=True)


def recipe(name: str) -> Recipe:
    """What must be there before an event is published."""
    return Recipe(f"events {name}", (exchange(name),))


def routing_key(event_type: str) -> str:
    """`task-received` → `task.received`."""
    return event_type.replace("-", ".")


def envelope(body: "Event | list[dict[str, Any]]", node: str) -> Envelope:
    """An event, or several, as a message."""
    return envelope_of(json.dumps(body, default=repr, ensure_ascii=False, separators=(",", ":")).encode(), node)


def envelope_of(body: bytes, node: str) -> Envelope:
    """Events that are JSON already, as a message."""
    return Envelope(
        body=body,
        headers={"hostname": node},
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=TRANSIENT,
    )


def read(message: Envelope) -> Iterator[dict[str, Any]]:
    """The events in a message; what is no event is left out.

    Raises:
        ValueError: the message is no JSON.
    """
    if len(message.body) > MAX_BODY:
        raise ValueError(f"{len(message.body)} bytes are too many for events")
    try:
        content = json.loads(message.body)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    for item in content if isinstance(content, list) else [content]:
        if isinstance(item, dict) and isinstance(item.get("type"), str):
            yield item


def cut(text: str) -> str:
    """A text that is short enough for an event."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
