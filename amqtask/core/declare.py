"""What may be asked of a broker about its objects: one frozen value an AMQP method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from amqtask.core.message import HeaderValue

Arguments: TypeAlias = Mapping[str, HeaderValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareExchange:
    """`exchange.declare`. A passive one only asks whether the exchange exists."""

    name: str
    type: str = "direct"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    passive: bool = False
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareQueue:
    """`queue.declare`. An empty name lets the server choose one."""

    name: str = ""
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    passive: bool = False
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindQueue:
    """`queue.bind`."""

    queue: str
    exchange: str
    routing_key: str = ""
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbindQueue:
    """`queue.unbind`."""

    queue: str
    exchange: str
    routing_key: str = ""
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindExchange:
    """`exchange.bind`: what `source` routes under the key also goes to `destination` (a RabbitMQ extension)."""

    destination: str
    source: str
    routing_key: str = ""
    arguments: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteQueue:
    """`queue.delete`."""

    name: str
    if_unused: bool = False
    if_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteExchange:
    """`exchange.delete`."""

    name: str
    if_unused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeQueue:
    """`queue.purge`: throws away what is ready in the queue."""

    name: str


DeclareOp: TypeAlias = (
    DeclareExchange | DeclareQueue | BindQueue | UnbindQueue | BindExchange | DeleteQueue | DeleteExchange | PurgeQueue
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Operations that together make something, under a name by which it is remembered that they were done.

    `hint` says what to do where the broker refuses one of them. `once`: it is needed for one message only, and not
    remembered.
    """

    name: str
    ops: tuple[DeclareOp, ...]
    hint: str = ""
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """What the broker answers about a queue.

    After a declare: how many messages are ready; after a purge or a delete: how many went.
    """

    name: str
    messages: int
    consumers: int
