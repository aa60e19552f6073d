"""VirtualHost: exchanges, queues and bindings of one name, and the way of a message through them."""

import base64
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from amqtask.devbroker import arguments, deadletter
from amqtask.devbroker.arguments import QueueKind, QueueSpec
from amqtask.devbroker.context import Context
from amqtask.devbroker.errors import access_refused, not_found, not_implemented, precondition_failed, resource_locked
from amqtask.devbroker.exchange import (
    PREDECLARED,
    Binding,
    Destination,
    Exchange,
    ExchangeSpec,
    check_arguments,
    check_binding,
    check_kind,
)
from amqtask.devbroker.message import Message
from amqtask.devbroker.queue import Death, Queue
from amqtask.devbroker.quorum import QuorumQueue
from amqtask.devbroker.stream import StreamQueue
from amqtask.devbroker.tables import Table

RESERVED = "amq."
ROUTES_MAX = 10_000
"""Routes that are remembered; the cache starts anew when it is full."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages to one exchange with one routing key go."""

    exchange: str
    routing_key: str
    queues: tuple[Queue, ...]


class VirtualHost:
    """Everything that is declared under one name. Methods raise SoftError and HardError as RabbitMQ would answer.

    `by` is who asks (a session); it matters for exclusive queues only.
    """

    def __init__(self, name: str, context: Context) -> None:
        self.name = name
        self.context = context
        self.queues: dict[str, Queue] = {}
        self.exchanges = {
            exchange: Exchange(
                ExchangeSpec(name=exchange, kind=kind, durable=True, internal=exchange == "amq.rabbitmq.trace")
            )
            for exchange, kind in PREDECLARED.items()
        }
        self.routes: dict[bytes, Route] = {}
        self._dead: deque[tuple[Queue, Death]] = deque()
        self._is_burying = False

    # Exchanges.

    def declare_exchange(self, spec: ExchangeSpec, *, passive: bool = False) -> None:
        current = self.exchanges.get(spec.name)
        if passive:
            self.exchange(spec.name)
            return
        check_kind(spec.kind, local_random=self.context.profile.local_random_exchange)
        if not spec.name:
            raise access_refused("operation not permitted on the default exchange")
        if current is not None:
            current.assert_equivalent(spec, self.name)
            return
        if spec.name.startswith(RESERVED):
            raise access_refused(f"exchange name '{spec.name}' contains reserved prefix 'amq.*'")
        check_arguments(spec)
        self.add_exchange(spec)

    def add_exchange(self, spec: ExchangeSpec) -> None:
        """Add an exchange that has passed all checks."""
        self.exchanges[spec.name] = Exchange(spec)
        self.routes.clear()
        if spec.durable:
            self.context.journal.exchange_declared(self.name, spec)

    def exchange(self, name: str) -> Exchange:
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found(f"no exchange '{name}' in vhost '{self.name}'")
        return exchange

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        if not name:
            raise access_refused("operation not permitted on the default exchange")
        if name.startswith(RESERVED):
            raise access_refused(f"deletion of system exchange '{name}' in vhost '{self.name}' not allowed")
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings:
            raise precondition_failed(f"exchange '{name}' in vhost '{self.name}' in use")
        self._remove_exchange(exchange)

    def _remove_exchange(self, exchange: Exchange) -> None:
        del self.exchanges[exchange.name]
        self.routes.clear()
        if exchange.spec.durable:
            self.context.journal.exchange_deleted(self.name, exchange.name)
        self._unbind_all(("exchange", exchange.name))

    def bind(self, binding: Binding, by: object | None = None) -> None:
        source = self.exchange(binding.source)
        is_kept = self._is_durable(binding.destination, by) and source.spec.durable
        check_binding(source, binding, topic_hash_max=self.context.profile.topic_hash_max)
        if binding.destination == ("exchange", ""):
            raise access_refused("operation not permitted on the default exchange")
        if source.bind(binding):
            self.routes.clear()
            if is_kept:
                self.context.journal.bound(self.name, binding)

    def unbind(self, binding: Binding, by: object | None = None) -> None:
        if not binding.source or binding.destination == ("exchange", ""):
            raise access_refused("operation not permitted on the default exchange")
        kind, name = binding.destination
        if kind == "queue" and name in self.queues:
            self.queue(name, by)
        source = self.exchanges.get(binding.source)
        if source is not None and source.unbind(binding):
            self._unbound(source, [binding])

    def _unbind_all(self, destination: Destination) -> None:
        for exchange in list(self.exchanges.values()):
            gone = [binding for binding in exchange.bindings.values() if binding.destination == destination]
            for binding in gone:
                exchange.unbind(binding)
            if gone and exchange.name in self.exchanges:
                self._unbound(exchange, gone)

    def _unbound(self, source: Exchange, bindings: list[Binding]) -> None:
        self.routes.clear()
        for binding in bindings:
            self.context.journal.unbound(self.name, binding)
        if source.spec.auto_delete and not source.bindings:
            self._remove_exchange(source)

    def _is_durable(self, destination: Destination, by: object | None) -> bool:
        kind, name = destination
        if kind == "exchange":
            return self.exchange(name).spec.durable
        queue = self.queue(name, by)
        return queue.spec.durable and queue.exclusive_to is None

    # Queues.

    def declare_queue(self, spec: QueueSpec, *, passive: bool = False, by: object | None = None) -> Queue:
        """Declare or look up a queue; one without a name gets one."""
        if passive:
            queue = self.queue(spec.name, by)
            queue.touch()
            return queue
        current = self.queues.get(spec.name) if spec.name else None
        if current is not None:
            self._assert_access(current, by if spec.exclusive else None)
            arguments.check_equivalent(current.spec, spec, self.name)
            current.touch()
            return current
        arguments.check(spec, self.name, self.context.profile)
        if spec.name.startswith(RESERVED):
            raise access_refused(f"queue name '{spec.name}' contains reserved prefix 'amq.*'")
        named = spec if spec.name else replace(spec, name=generated_name())
        return self.add_queue(named, by if spec.exclusive else None)

    def add_queue(self, spec: QueueSpec, exclusive_to: object | None = None) -> Queue:
        """Add a queue that has passed all checks."""
        kinds = {QueueKind.CLASSIC: Queue, QueueKind.QUORUM: QuorumQueue, QueueKind.STREAM: StreamQueue}
        queue = self.queues[spec.name] = kinds[spec.kind](spec, self, self.context, exclusive_to)
        self.routes.clear()
        if spec.durable and exclusive_to is None:
            self.context.journal.queue_declared(self.name, spec)
        return queue

    def queue(self, name: str, by: object | None = None) -> Queue:
        queue = self.queues.get(name)
        if queue is None:
            raise not_found(f"no queue '{name}' in vhost '{self.name}'")
        if queue.exclusive_to is not None:
            self._assert_access(queue, by)
        return queue

    def _assert_access(self, queue: Queue, by: object | None) -> None:
        if queue.exclusive_to is not by:
            raise resource_locked(
                f"cannot obtain exclusive access to locked {queue}. It could be originally declared on another "
                "connection or the exclusive property value does not match that of the original declaration."
            )

    def delete_queue(
        self, name: str, *, if_unused: bool = False, if_empty: bool = False, by: object | None = None
    ) -> int:
        """Delete a queue, if there is one, and say how many messages were ready in it."""
        if name not in self.queues:
            return 0
        queue = self.queue(name, by)
        for asked, flag in ((if_unused, "if-unused"), (if_empty, "if-empty")):
            if asked and queue.spec.kind is QueueKind.QUORUM:
                what = f"queue.delete operations with {flag} flag set are not supported by quorum queues"
                raise not_implemented(f"cannot delete {queue}. {what}")
        is_asked = queue.spec.kind is QueueKind.CLASSIC
        if is_asked and if_unused and len(queue.consumers):
            raise precondition_failed(f"{queue} in use")
        if is_asked and if_empty and queue.message_count:
            raise precondition_failed(f"{queue} is not empty")
        return self.remove_queue(queue)

    def remove_queue(self, queue: Queue) -> int:
        """Delete it without further questions; its consumers are told."""
        del self.queues[queue.name]
        self.routes.clear()
        if queue.spec.durable and queue.exclusive_to is None:
            self.context.journal.queue_deleted(self.name, queue.name)
        count = queue.delete()
        for consumer in list(queue.consumers):
            consumer.channel.cancelled_by_broker(consumer)
        self._unbind_all(("queue", queue.name))
        return count

    def queue_expired(self, queue: Queue) -> None:
        self.remove_queue(queue)

    # Messages.

    def route(self, message: Message) -> tuple[Queue, ...]:
        """The queues that get `message`. Raises SoftError (404) if its exchange does not exist."""
        exchange = self.exchange(message.exchange)
        if (
            message.extra_keys or not exchange.is_cacheable or exchange.spec.internal
        ):  # A route in the cache is open to publishers.
            return self._find(exchange, message)[0]
        known = self.routes.get(message.address)
        if known is not None:
            return known.queues
        queues, is_cacheable = self._find(exchange, message)
        if is_cacheable:
            if len(self.routes) >= ROUTES_MAX:
                self.routes.clear()
            self.routes[message.address] = Route(message.exchange, message.routing_key, queues)
        return queues

    def _find(self, first: Exchange, message: Message) -> tuple[tuple[Queue, ...], bool]:
        """Follow bindings from exchange to exchange; each is visited once.

        Also whether the routing key alone has decided.
        """
        found: dict[str, Queue] = {}
        pending = [first]
        seen = {first.name}
        is_cacheable = True
        while pending:
            exchange = pending.pop()
            if exchange.is_cacheable:
                destinations = self._destinations(exchange, message, {})
            else:
                is_cacheable = False
                destinations = self._destinations(exchange, message, message.headers)
            for kind, name in destinations:
                if kind == "queue":
                    if name in self.queues:
                        found[name] = self.queues[name]
                elif name in self.exchanges and name not in seen:
                    seen.add(name)
                    pending.append(self.exchanges[name])
        return tuple(found.values()), is_cacheable

    def _destinations(self, exchange: Exchange, message: Message, headers: Table) -> list[Destination]:
        if not exchange.name:
            return [("queue", key) for key in message.keys]
        matched = [destination for key in message.keys for destination in exchange.match(key, headers)]
        if not matched and exchange.alternate is not None:
            return [("exchange", exchange.alternate)]
        return matched

    def publish(self, message: Message, queues: tuple[Queue, ...]) -> bool:
        """Put `message` into each of `queues`; False if one refuses it. Dead letters that this causes follow later."""
        if len(queues) == 1:
            return queues[0].publish(message)
        with self.holding_dead_letters():
            return all([queue.publish(message) for queue in queues])  # noqa: C419 (each queue gets it, whoever refuses)

    @contextmanager
    def holding_dead_letters(self) -> Iterator[None]:
        """What dies within the block is dead-lettered at its end."""
        is_outermost, self._is_burying = not self._is_burying, True
        try:
            yield
        finally:
            self._is_burying = not is_outermost
        if is_outermost and self._dead:
            self._bury_all()

    def dead_letter(self, queue: Queue, death: Death) -> None:
        """Send a dead letter on its way.

        One after the other, and after what caused them: a chain of queues that overflow into each other must not be a
        recursion, a copy of a message gets to its queue before the dead letter of another copy, and who rejects a
        message gets the next one before the letter is back.
        """
        self._dead.append((queue, death))
        if not self._is_burying:
            self._bury_all()

    def _bury_all(self) -> None:
        self._is_burying = True
        try:
            while self._dead:
                queue, death = self._dead.popleft()
                queue.buried(death, delivered=self._bury(queue, death))
        finally:
            self._is_burying = False

    def _bury(self, queue: Queue, death: Death) -> bool:
        """Whether at least one queue has taken the dead letter, and none refused."""
        if queue.spec.dead_letter_exchange not in self.exchanges:
            return False
        message = deadletter.dead_letter(queue, death, self.context.profile)
        headers = message.headers
        targets = tuple(
            target for target in self.route(message) if not deadletter.is_cycle(target.name, headers, death.reason)
        )
        return bool(targets) and self.publish(message, targets)


def generated_name() -> str:
    return "amq.gen-" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
