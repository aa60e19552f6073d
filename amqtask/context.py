"""What a running task may know, and the ambient values: the running task's Context and the open batch."""

import contextvars
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from amqtask.core.message import HeaderValue
from amqtask.core.outcome import RetryWanted

if TYPE_CHECKING:
    from amqtask.core.request import Request
    from amqtask.task import AnyTask


@dataclass(slots=True, kw_only=True)
class DeliveryInfo:
    """How the message of a running task came here."""

    exchange: str = ""
    routing_key: str = ""
    queue: str = ""
    priority: int | None = None
    redelivered: bool = False


@dataclass(slots=True, kw_only=True)
class Context:
    """`self.request` of a running task. Outside of one, `called_directly` is True and the rest is empty.

    Limits are seconds, times aware datetimes; `hostname` is the node's name.
    """

    id: str | None = None
    task: str = ""
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    retries: int = 0
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    eta: datetime | None = None
    expires: datetime | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    ignore_result: bool = False
    hostname: str = ""
    origin: str | None = None
    shadow: str | None = None
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    stamps: Mapping[str, HeaderValue] = field(default_factory=dict)
    stamped_headers: tuple[str, ...] = ()
    replaced_task_nesting: int = 0
    callbacks: tuple[Mapping[str, object], ...] = ()
    errbacks: tuple[Mapping[str, object], ...] = ()
    chain: tuple[Mapping[str, object], ...] = ()
    chord: Mapping[str, object] | None = None
    delivery_info: DeliveryInfo = field(default_factory=DeliveryInfo)
    called_directly: bool = True
    is_eager: bool = False
    children: list[str] = field(default_factory=list)
    message: "Request | None" = None
    """The message as it came, for what republishes it."""
    current: "AnyTask | None" = None
    retry_wanted: RetryWanted | None = None
    """Set by `Task.retry`; the execution ends as this retry."""


_running: contextvars.ContextVar[Context | None] = contextvars.ContextVar("amqtask_running", default=None)


def running() -> Context | None:
    """The Context of the task that runs here, or None outside of tasks."""
    return _running.get()


def enter(context: Context) -> contextvars.Token[Context | None]:
    """Make `context` the running task's; give the token to `leave`."""
    return _running.set(context)


def leave(token: contextvars.Token[Context | None]) -> None:
    """Undo `enter`."""
    _running.reset(token)


def current_task() -> "AnyTask | None":
    """The task that runs here, or None outside of tasks."""
    context = _running.get()
    return None if context is None else context.current
