"""Exchanges, queues and bindings: what the YAML means, and what is to be asked of a broker for it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from amqtask.core.declare import Arguments, BindExchange, BindQueue, DeclareExchange, DeclareOp, DeclareQueue
from amqtask.core.queue_arguments import NO_DELIVERY_LIMIT, QUORUM

DeclareMode: TypeAlias = Literal["always", "verify", "never"]
Path: TypeAlias = tuple[str | int, ...]
"""Where something stands in the configuration: ("queues", "hi", "bind", 0)."""

DEFAULT_EXCHANGE = ""
BUILTIN_EXCHANGES: Mapping[str, str] = {
    DEFAULT_EXCHANGE: "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
    "amq.topic": "topic",
}
"""What every virtual host has from the start, with their types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One exchange. `arguments` are those beside the alternate exchange; `declare` overrides the general mode."""

    name: str
    type: str = "topic"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    alternate: str | None = None
    arguments: Arguments = field(default_factory=dict)
    declare: DeclareMode | None = None
    path: Path = ()

    def declaration(self) -> DeclareExchange:
        """The operation that makes it."""
        alternate = {"alternate-exchange": self.alternate} if self.alternate is not None else {}
        return DeclareExchange(
            name=self.name,
            type=self.type,
            durable=self.durable,
            auto_delete=self.auto_delete,
            internal=self.internal,
            arguments={**self.arguments, **alternate},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Where a queue's rejected, expired and overflowing messages go; no `routing_key` keeps the message's own."""

    exchange: str
    routing_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue. `arguments` are all of `queue.declare`'s but the type."""

    name: str
    type: str = QUORUM
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Arguments = field(default_factory=dict)
    declare: DeclareMode | None = None
    path: Path = ()

    @property
    def dead_letter(self) -> DeadLetter | None:
        """Where its dead letters go, or None."""
        exchange = self.arguments.get("x-dead-letter-exchange")
        key = self.arguments.get("x-dead-letter-routing-key")
        if not isinstance(exchange, str):
            return None
        return DeadLetter(exchange=exchange, routing_key=key if isinstance(key, str) else None)

    def declaration(self) -> DeclareQueue:
        """The operation that makes it."""
        arguments = {"x-queue-type": self.type, **self.arguments}
        if arguments.get("x-delivery-limit") == -1:
            arguments["x-delivery-limit"] = NO_DELIVERY_LIMIT
        return DeclareQueue(
            name=self.name,
            durable=self.durable,
            exclusive=self.exclusive,
            auto_delete=self.auto_delete,
            arguments=arguments,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One binding of a queue, or with `to_exchange` of an exchange, to the exchange `source`."""

    source: str
    target: str
    key: str = ""
    to_exchange: bool = False
    arguments: Arguments = field(default_factory=dict)
    path: Path = ()

    def declaration(self) -> BindQueue | BindExchange:
        """The operation that makes it."""
        if self.to_exchange:
            return BindExchange(
                destination=self.target, source=self.source, routing_key=self.key, arguments=self.arguments
            )
        return BindQueue(queue=self.target, exchange=self.source, routing_key=self.key, arguments=self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """All exchanges and queues by name, in the order of the configuration, and their bindings."""

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()

    def exchange_type(self, name: str) -> str | None:
        """The type of an exchange of ours or of the server's own, or None."""
        exchange = self.exchanges.get(name)
        return exchange.type if exchange is not None else BUILTIN_EXCHANGES.get(name)

    def bindings_of(self, source: str) -> Iterator[Binding]:
        """The bindings that lead out of an exchange."""
        return (binding for binding in self.bindings if binding.source == source)

    def dead_letter_queues(self) -> frozenset[str]:
        """The names of the queues that others dead-letter to by the default exchange."""
        targets = (queue.dead_letter for queue in self.queues.values())
        return frozenset(
            target.routing_key
            for target in targets
            if target is not None and target.exchange == DEFAULT_EXCHANGE and target.routing_key is not None
        )

    def work_queues(self) -> tuple[str, ...]:
        """The queues that a worker consumes where nobody names any: all but dead-letter queues and streams."""
        dead = self.dead_letter_queues()
        return tuple(name for name, queue in self.queues.items() if name not in dead and queue.type != "stream")

    def reached_from(self, exchange: str) -> tuple[str, ...]:
        """The queues that something published to an exchange of ours may reach, in the order of their names."""
        queues: set[str] = set()
        self._follow(exchange, set(), queues)
        return tuple(sorted(queues))

    def needed_by(self, queues: Collection[str]) -> "Topology":
        """The part that some queues need: what leads to them, and where their dead letters go."""
        wanted_queues, wanted_exchanges = set(queues), set[str]()
        size = -1
        while size != len(wanted_queues) + len(wanted_exchanges):
            size = len(wanted_queues) + len(wanted_exchanges)
            for binding in self.bindings:
                if binding.target in (wanted_exchanges if binding.to_exchange else wanted_queues):
                    wanted_exchanges.add(binding.source)
            for name in wanted_exchanges & self.exchanges.keys():
                if (alternate := self.exchanges[name].alternate) is not None:
                    self._follow(alternate, wanted_exchanges, wanted_queues)
            for name in wanted_queues & self.queues.keys():
                if (dead := self.queues[name].dead_letter) is None:
                    continue
                if dead.exchange != DEFAULT_EXCHANGE:
                    self._follow(dead.exchange, wanted_exchanges, wanted_queues)
                elif dead.routing_key is not None:
                    wanted_queues.add(dead.routing_key)
        return Topology(
            exchanges={name: exchange for name, exchange in self.exchanges.items() if name in wanted_exchanges},
            queues={name: queue for name, queue in self.queues.items() if name in wanted_queues},
            bindings=tuple(
                binding
                for binding in self.bindings
                if binding.source in wanted_exchanges
                and binding.target in (wanted_exchanges if binding.to_exchange else wanted_queues)
            ),
        )

    def _follow(self, exchange: str, exchanges: set[str], queues: set[str]) -> None:
        """Add an exchange and all that it leads to."""
        waiting = [exchange]
        followed: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in followed:
                continue
            followed.add(name)
            for binding in self.bindings_of(name):
                if binding.to_exchange:
                    waiting.append(binding.target)
                else:
                    queues.add(binding.target)
        exchanges |= followed


def declare_ops(
    topology: Topology,
    mode: DeclareMode,
    *,
    queues: Collection[str] | None = None,
) -> tuple[DeclareOp, ...]:
    """What to ask of the broker, in an order that works: exchanges, dead-letter queues, other queues, bindings.

    `queues` limits it to what these queues need. `verify` asks passively whether exchanges and queues exist, and never
    for bindings, which AMQP cannot ask for. An object's own mode goes before `mode`; a binding is made where `mode` is
    always, or where one of its ends is declared. Exclusive queues are left out unless `queues` names them.
    """
    part = topology if queues is None else topology.needed_by(queues)
    dead = topology.dead_letter_queues()
    ops: list[DeclareOp] = []
    declared: set[tuple[bool, str]] = set()
    for exchange in part.exchanges.values():
        own = exchange.declare or mode
        if own == "always":
            ops.append(exchange.declaration())
            declared.add((True, exchange.name))
        elif own == "verify":
            ops.append(DeclareExchange(name=exchange.name, type=exchange.type, passive=True))
    # An exclusive queue belongs to the connection that declares it: only to one that is to use it.
    skipped = {queue.name for queue in part.queues.values() if queue.exclusive and queue.name not in (queues or ())}
    for queue in sorted(part.queues.values(), key=lambda queue: queue.name not in dead):
        own = queue.declare or mode
        if queue.name in skipped:
            continue
        if own == "always":
            ops.append(queue.declaration())
            declared.add((False, queue.name))
        elif own == "verify":
            ops.append(DeclareQueue(name=queue.name, passive=True))
    for binding in part.bindings:
        if not binding.to_exchange and binding.target in skipped:
            continue
        end_declared = (True, binding.source) in declared or (binding.to_exchange, binding.target) in declared
        if mode == "always" or end_declared:
            ops.append(binding.declaration())
    return tuple(ops)
