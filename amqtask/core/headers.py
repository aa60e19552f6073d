"""The header names of a task message, and reading them with their types checked.

The names are those of Celery's message protocol 2 (`celery/app/amqp.py`). Libraries of other languages write other
types for the same thing, so bytes pass for text where they are UTF-8, and an AMQP timestamp for an ISO 8601 text.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from amqtask.core.glimpse import glimpse
from amqtask.core.message import HeaderValue
from amqtask.errors import MalformedMessage

CRASHES = "x-aqt-crashes"
"""How many runs of this message ended with the death of their process, where the broker does not count."""

CRASHED_ON = "x-aqt-crashed-on"
"""The same by where that was: see `amqtask.core.crashes`."""

TASK_HEADERS = frozenset(
    {
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
        CRASHES,
        CRASHED_ON,
    }
)
"""The headers that the protocol and amqtask give a meaning to; any other is the sender's own."""

BROKER_HEADERS = frozenset(
    {
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-acquired-count",
        "x-opt-deaths",
        "CC",
        "BCC",
    }
)
"""What RabbitMQ writes into a message, or obeys. Up to 3.13 it drops a message that brings its `x-death` along to a
queue named there (as a cycle), and CC and BCC would multiply each retry."""

KNOWN_HEADERS = TASK_HEADERS | BROKER_HEADERS

Get: TypeAlias = Callable[[str], HeaderValue]
"""A header's value, None if there is none: `headers.get`."""


def text(get: Get, name: str) -> str | None:
    """A text, or None where the header is null or missing."""
    value = get(name)
    if value is None or type(value) is str:
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedMessage(f"header {name!r} holds bytes that are not UTF-8") from None
    raise _wrong(name, value, "a text")


def integer(get: Get, name: str) -> int | None:
    """An int that is not negative, or None where the header is null or missing."""
    value = get(name)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise _wrong(name, value, "an int of 0 or more")


def flag(get: Get, name: str) -> bool | None:
    """A bool, or None where the header is null or missing."""
    value = get(name)
    if value is None or value is True or value is False:
        return value
    raise _wrong(name, value, "a bool")


def moment(get: Get, name: str) -> datetime | None:
    """A time in UTC, or None where the header is null, empty or missing; one without an offset is taken as UTC."""
    value = get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        value = text(get, name)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise MalformedMessage(f"header {name!r} holds {glimpse(value)}, which is no ISO 8601 time") from None
    if not isinstance(value, datetime):
        raise _wrong(name, value, "an ISO 8601 time")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise MalformedMessage(f"header {name!r} holds {value}, which is out of range in UTC") from None


def limits(get: Get, name: str) -> tuple[float | None, float | None]:
    """The hard and the soft time limit in seconds; 0 means none, as in Celery."""
    value = get(name)
    if value is None:
        return None, None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise _wrong(name, value, "a list of two numbers")
    hard, soft = value
    return _seconds(name, hard), _seconds(name, soft)


def _seconds(name: str, value: HeaderValue) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise _wrong(name, value, "seconds")
    return value or None


def names(get: Get, name: str) -> tuple[str, ...]:
    """A list of texts, empty where the header is null or missing."""
    value = get(name)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list of texts")
    for item in value:
        if not isinstance(item, str):
            raise _wrong(name, item, "texts only")
    return tuple(item for item in value if isinstance(item, str))


def table(get: Get, name: str) -> dict[str, HeaderValue]:
    """A table, empty where the header is null or missing."""
    value = get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(name, value, "a table")
    return value


def _wrong(name: str, value: HeaderValue, expected: str) -> MalformedMessage:
    return MalformedMessage(f"header {name!r} holds {glimpse(value)}, expected {expected}")
