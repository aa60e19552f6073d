"""Exchange: a name, a type, and the bindings that lead from it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from amqtask.devbroker import tables
from amqtask.devbroker.errors import access_refused, command_invalid, precondition_failed
from amqtask.devbroker.match import DirectIndex, FanoutIndex, HeadersIndex, Index, TopicIndex, equal
from amqtask.devbroker.tables import Table

DestinationKind: TypeAlias = Literal["queue", "exchange"]
Destination: TypeAlias = tuple[DestinationKind, str]

LOCAL_RANDOM = "x-local-random"
KINDS = ("direct", "fanout", "topic", "headers")
PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
}
"""What every virtual host has from the start, by name; the default exchange is the one without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """From an exchange to a queue or another exchange."""

    source: str
    destination: Destination
    routing_key: str
    arguments: Table = field(default_factory=dict)

    @property
    def identity(self) -> tuple[Destination, str, bytes]:
        """What makes two bindings of one source the same."""
        return self.destination, self.routing_key, tables.encode(dict(sorted(self.arguments.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSpec:
    """What `exchange.declare` says."""

    name: str
    kind: str = "direct"
    durable: bool = False
    auto_delete: bool = False
    internal: bool = False
    arguments: Table = field(default_factory=dict)


class Exchange:
    """A declared exchange and its bindings."""

    def __init__(self, spec: ExchangeSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.bindings: dict[tuple[Destination, str, bytes], Binding] = {}
        alternate = spec.arguments.get("alternate-exchange")
        self.alternate = alternate if isinstance(alternate, str) else None
        self._index = _index(spec.kind)

    @property
    def is_cacheable(self) -> bool:
        """Whether the routing key alone decides where a message goes."""
        return self.spec.kind in ("direct", "fanout", "topic")

    def bind(self, binding: Binding) -> bool:
        """Add a binding; False if there is the same one already."""
        if binding.identity in self.bindings:
            return False
        self.bindings[binding.identity] = binding
        self._index.add(binding.destination, binding.routing_key, binding.arguments)
        return True

    def unbind(self, binding: Binding) -> bool:
        """Remove a binding; False if there is none such."""
        if self.bindings.pop(binding.identity, None) is None:
            return False
        self._index.remove(binding.destination, binding.routing_key, binding.arguments)
        return True

    def match(self, routing_key: str, headers: Table) -> Iterable[Destination]:
        matched = self._index.match(routing_key, headers)
        if self.spec.kind == LOCAL_RANDOM:
            queues = [destination for destination in matched if destination[0] == "queue"]
            return [random.choice(queues)] if queues else []
        return matched

    def assert_equivalent(self, spec: ExchangeSpec, vhost: str) -> None:
        """Raises SoftError (406) if a second declaration says something else than the first."""
        for name in ("kind", "durable", "auto_delete", "internal"):
            current, received = getattr(self.spec, name), getattr(spec, name)
            if current != received:
                said = "type" if name == "kind" else name
                raise precondition_failed(
                    f"inequivalent arg '{said}' for exchange '{self.name}' in vhost '{vhost}': "
                    f"received '{_erlang(received)}' but current is '{_erlang(current)}'"
                )
        current, received = self.alternate, spec.arguments.get("alternate-exchange")
        if not equal(current, received):
            raise precondition_failed(
                f"inequivalent arg 'alternate-exchange' for exchange '{self.name}' in vhost '{vhost}': "
                f"received {received or 'none'!r} but current is {current or 'none'!r}"
            )


def check_kind(kind: str, *, local_random: bool) -> None:
    """Raises HardError (503) unless exchanges of this type exist."""
    if kind not in KINDS and not (local_random and kind == LOCAL_RANDOM):
        raise command_invalid(f"unknown exchange type '{kind}'")


def check_arguments(spec: ExchangeSpec) -> None:
    """Raises SoftError (406) for an argument that RabbitMQ would refuse."""
    alternate = spec.arguments.get("alternate-exchange")
    if alternate is not None and not isinstance(alternate, str):
        raise precondition_failed(f"invalid arg 'alternate-exchange' for exchange '{spec.name}': it must be a string")


def check_binding(exchange: Exchange, binding: Binding, *, topic_hash_max: int | None) -> None:
    """Raises SoftError (403, 406) for a binding that RabbitMQ would refuse."""
    if exchange.name == "":
        raise access_refused("operation not permitted on the default exchange")
    if exchange.spec.kind == "headers":
        mode = binding.arguments.get("x-match", "all")
        if mode not in ("all", "any", "all-with-x", "any-with-x"):
            raise precondition_failed(
                f"Invalid x-match field value {mode!r}; expected all, any, all-with-x, or any-with-x"
            )
    if exchange.spec.kind == "topic" and topic_hash_max is not None:
        hashes = binding.routing_key.split(".").count("#")
        if hashes > topic_hash_max:
            raise precondition_failed(
                f"topic binding key '{binding.routing_key}' contains {hashes} '#' wildcards, maximum {topic_hash_max}"
            )


def _index(kind: str) -> Index[Destination]:
    match kind:
        case "fanout" | "x-local-random":
            return FanoutIndex()
        case "topic":
            return TopicIndex()
        case "headers":
            return HeadersIndex()
        case _:
            return DirectIndex()


def _erlang(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
