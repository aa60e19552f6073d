"""Channel: what a client does to the broker, one call for each method of the protocol.

Calls raise SoftError or HardError; the caller closes the channel or connection then. What the broker has to say unasked
goes to the sink.
"""

import base64
import secrets
from collections.abc import Callable

from amqtask.devbroker.arguments import QueueKind
from amqtask.devbroker.confirms import Confirms
from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.emulate import GlobalQos
from amqtask.devbroker.errors import Refusal, not_allowed, not_found, not_implemented, precondition_failed
from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.patience import Patience
from amqtask.devbroker.properties import Properties
from amqtask.devbroker.publishing import prepare
from amqtask.devbroker.queue import Queue, Return
from amqtask.devbroker.replyto import PREFIX, PSEUDO_QUEUE
from amqtask.devbroker.roles import Client
from amqtask.devbroker.sinks import ChannelSink
from amqtask.devbroker.tables import Table
from amqtask.devbroker.unacked import Delivery, Unacked

QUORUM_PREFETCH_MAX = 2000


class Channel:
    """An open channel."""

    def __init__(self, session: Client, number: int, sink: ChannelSink) -> None:
        self.session = session
        self.number = number
        self.sink = sink
        self.vhost = session.vhost
        self.context = session.broker.context
        self.consumers: dict[str, Consumer] = {}
        self.unacked = Unacked()
        # The queue that "" means: the last one declared here.
        self.last_queue: str | None = None
        self.confirms: Confirms | None = None
        self.faults = session.broker.faults
        self._tag = 0
        self._prefetch = 0
        self._window = 0
        self._in_window = 0
        self._in_transaction = False
        self._publishes: list[tuple[Message, tuple[Queue, ...], bool]] = []
        self._settlements: list[Callable[[], None]] = []
        self._reply_consumer: Consumer | None = None
        self._reply_address = ""
        self._patience = Patience(self, self.faults.consumer_timeout or session.broker.consumer_timeout)
        self._is_open = True

    # Publishing.

    def publish(
        self,
        exchange: str,
        routing_key: str,
        known: Properties,
        body: bytes,
        *,
        mandatory: bool = False,
        address: bytes | None = None,
    ) -> None:
        """`basic.publish`. `address` is exchange and routing key as they came over the wire, if they did."""
        if not self.session.has_published:
            self.session.note_publish()
        route = self.vhost.routes.get(address) if known.is_plain and address is not None else None
        if route is not None:
            message = Message(route.exchange, route.routing_key, known, body, address)
            queues = route.queues
        else:
            message = prepare(self, exchange, routing_key, known, body, address)
            if self._replied(message):
                queues, mandatory = (), mandatory and not self.context.profile.reply_counts_as_routed
            else:
                queues = self.vhost.route(message)
        if self._in_transaction:
            self._publishes.append((message, queues, mandatory))
        else:
            self._send(message, queues, mandatory=mandatory)

    def _send(self, message: Message, queues: tuple[Queue, ...], *, mandatory: bool) -> bool:
        ok = True
        if self.faults.is_active:
            queues, ok = self.faults.divert(queues)
        if not queues and mandatory and ok:
            self.sink.returned(312, "NO_ROUTE", message)
        if queues and not self.vhost.publish(message, queues):
            ok = False
        if self.confirms is not None:
            sequence = self.confirms.next()
            if not (self.faults.is_active and self._hold_confirm(sequence, ok=ok)):
                self._decide(sequence, ok=ok)
        return ok

    def _decide(self, sequence: int, *, ok: bool) -> None:
        if self.confirms is not None and self._is_open and self.confirms.decide(sequence, ok=ok):
            self.session.broker.confirm_later(self)

    def tell_confirms(self) -> None:
        """The journal has committed: say what was decided."""
        if self.confirms is not None and self._is_open:
            self.confirms.flush(lambda sequence, multiple, ok: self.sink.confirmed(sequence, multiple=multiple, ok=ok))

    def _hold_confirm(self, sequence: int, *, ok: bool) -> bool:
        if self.faults.use("drop_confirms"):
            return True
        if self.faults.confirm_delay:
            self.context.timers.at(self.context.now + self.faults.confirm_delay, lambda: self._decide(sequence, ok=ok))
            return True
        return False

    def _replied(self, message: Message) -> bool:
        """Whether it was a reply to a direct reply-to address: those bypass exchanges and queues."""
        if message.exchange or not message.routing_key.startswith(PREFIX):
            return False
        self.session.broker.replies.deliver(message)
        return True

    def reply_address(self) -> str:
        """What this channel's `reply_to` is rewritten to. Raises SoftError (406) if nobody here waits for replies."""
        if self._reply_consumer is None:
            raise precondition_failed("fast reply consumer does not exist")
        return self._reply_address

    def deliver_reply(self, message: Message) -> None:
        if self._reply_consumer is not None:
            self.sink.deliver(self._reply_consumer, self._tag + 1, False, message)
            self._tag += self.context.profile.numbers_replies

    # Modes.

    def select_confirms(self) -> None:
        if self._in_transaction:
            raise precondition_failed("cannot switch from tx to confirm mode")
        self.confirms = self.confirms or Confirms()

    def select_transaction(self) -> None:
        if self.confirms is not None:
            raise precondition_failed("cannot switch from confirm to tx mode")
        self._in_transaction = True

    def commit(self) -> None:
        """Raises SoftError (406), when all is done that can be, if a queue has refused a message."""
        self._assert_transaction()
        publishes, self._publishes = self._publishes, []
        settlements, self._settlements = self._settlements, []
        taken = [self._send(message, queues, mandatory=mandatory) for message, queues, mandatory in publishes]
        for settle in settlements:
            settle()
        if not all(taken):
            raise precondition_failed("partial tx completion")

    def rollback(self) -> None:
        """Forget the publishes; deliveries that were settled are held again, as if they had not been."""
        self._assert_transaction()
        self._publishes.clear()
        self._settlements.clear()
        self.unacked.restore()

    def _assert_transaction(self) -> None:
        if not self._in_transaction:
            raise precondition_failed("channel is not transactional")

    def qos(self, prefetch: int, *, is_global: bool = False, size: int = 0) -> None:
        if size:
            raise not_implemented(f"prefetch_size!=0 ({size})")
        if is_global and self.context.profile.global_qos is GlobalQos.PER_CHANNEL:
            self._window = prefetch
            self.resume()
        else:
            self._prefetch = prefetch

    # Consuming.

    @property
    def user(self) -> str:
        return self.session.user

    @property
    def accepts(self) -> bool:
        return not self.session.is_congested and (not self._window or self._in_window < self._window)

    def resume(self) -> None:
        """There is room again: for every consumer of the channel."""
        for consumer in list(self.consumers.values()):
            self._serve(consumer)

    def consume(
        self,
        queue: str,
        *,
        tag: str = "",
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: Table | None = None,
    ) -> Consumer:
        """`basic.consume`. Deliveries begin with `start`, so that the answer can go out first."""
        name = self.queue_name(queue)
        if tag in self.consumers:
            raise not_allowed(f"attempt to reuse consumer tag '{tag}'")
        tag = tag or "amq.ctag-" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        if name == PSEUDO_QUEUE:
            return self._consume_replies(tag, no_ack=no_ack)
        found = self.vhost.queue(name, self.session)
        is_classic = found.spec.kind is QueueKind.CLASSIC
        if self._window and not is_classic:
            raise not_implemented(f"{found} does not support global qos")
        prefetch = 0 if no_ack else self._prefetch
        if found.spec.kind is QueueKind.QUORUM and not no_ack:
            prefetch = min(prefetch or QUORUM_PREFETCH_MAX, QUORUM_PREFETCH_MAX)
        consumer = Consumer(tag, self, name, no_ack=no_ack, exclusive=exclusive, prefetch=prefetch, arguments=arguments)
        consumer.timeout = self._patience.timeout(consumer, found)
        found.subscribe(consumer)
        self.consumers[tag] = consumer
        return consumer

    def start(self, consumer: Consumer) -> None:
        """Let deliveries to a new consumer begin."""
        queue = self.vhost.queues.get(consumer.queue_name)
        if queue is not None and consumer is not self._reply_consumer:
            queue.dispatch()

    def _consume_replies(self, tag: str, *, no_ack: bool) -> Consumer:
        if not no_ack:
            raise precondition_failed("reply consumer cannot acknowledge")
        if self._reply_consumer is not None:
            raise precondition_failed("reply consumer already set")
        self._reply_address = self.session.broker.replies.open(self)
        self._reply_consumer = self.consumers[tag] = Consumer(tag, self, PSEUDO_QUEUE, no_ack=True)
        return self._reply_consumer

    def cancel(self, tag: str) -> None:
        """`basic.cancel`: what the consumer holds stays held. An unknown tag is no error."""
        consumer = self.consumers.pop(tag, None)
        if consumer is None:
            return
        consumer.is_cancelled = True
        if consumer is self._reply_consumer:
            self.session.broker.replies.close(self._reply_address)
            self._reply_consumer = None
            return
        queue = self.vhost.queues.get(consumer.queue_name)
        if queue is not None:
            queue.unsubscribe(consumer)
            if queue.is_abandoned:
                self.vhost.remove_queue(queue)
            else:
                # Another one may be active now.
                queue.dispatch()

    def drop_consumer(self, consumer: Consumer) -> None:
        """It was too slow: cancel it and give back what it holds."""
        if not consumer.is_cancelled:
            self.cancel(consumer.tag)
            self.sink.cancelled(consumer.tag)
        self._give_back(self.unacked.take_from(consumer), Return.TIMED_OUT)

    def cancelled_by_broker(self, consumer: Consumer) -> None:
        consumer.is_cancelled = True
        if self.consumers.pop(consumer.tag, None) is not None:
            self.sink.cancelled(consumer.tag)

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        queue = self.vhost.queues[consumer.queue_name]
        self._tag += 1
        redelivered = entry.redelivered
        message = queue.outgoing(entry)
        if consumer.no_ack:
            queue.acknowledge(entry)
        else:
            self.unacked.add(Delivery(self._tag, entry, queue, consumer, self.context.now))
            consumer.unacked += 1
            self._in_window += 1
            if consumer.timeout is not None and not self._patience.is_watching:
                self._patience.watch()
        self.sink.deliver(consumer, self._tag, redelivered, message)

    def get(self, queue: str, *, no_ack: bool = False) -> tuple[int, bool, Message, int] | None:
        """`basic.get`: delivery tag, whether redelivered, message, and how many are left.

        None if the queue is empty.
        """
        found = self.vhost.queue(self.queue_name(queue), self.session)
        taken = found.take(no_ack=no_ack)
        if taken is None:
            return None
        entry, left = taken
        self._tag += 1
        redelivered, message = entry.redelivered, found.outgoing(entry, is_get=True)
        if no_ack:
            found.acknowledge(entry)
        else:
            self.unacked.add(Delivery(self._tag, entry, found, None, self.context.now))
        return self._tag, redelivered, message, left

    # Settling.

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self._settle(self.unacked.take(tag, multiple=multiple), self._acknowledge)

    def nack(self, tag: int, *, multiple: bool = False, requeue: bool = True) -> None:
        self._settle(self.unacked.take(tag, multiple=multiple), self._return if requeue else self._drop)

    def reject(self, tag: int, *, requeue: bool = True) -> None:
        self._settle(self.unacked.take(tag, multiple=False), self._fail if requeue else self._reject)

    def recover(self, *, requeue: bool = True) -> None:
        if not requeue:
            raise not_implemented("requeue=false")
        self._return(self.unacked.clear())

    def _settle(self, deliveries: list[Delivery], verdict: Callable[[list[Delivery]], None]) -> None:
        if self._in_transaction:
            self.unacked.set_aside(deliveries)
            self._settlements.append(lambda: self._settle_aside(deliveries, verdict))
        else:
            verdict(deliveries)

    def _settle_aside(self, deliveries: list[Delivery], verdict: Callable[[list[Delivery]], None]) -> None:
        self.unacked.forget_aside(deliveries)
        verdict(deliveries)

    def _acknowledge(self, deliveries: list[Delivery]) -> None:
        self._release(deliveries)
        for delivery in deliveries:
            delivery.queue.acknowledge(delivery.entry)
        self._serve_again(deliveries)

    def _reject(self, deliveries: list[Delivery]) -> None:
        self._refuse(deliveries, Return.FAILED)

    def _drop(self, deliveries: list[Delivery]) -> None:
        self._refuse(deliveries, Return.RETURNED)

    def _refuse(self, deliveries: list[Delivery], cause: Return) -> None:
        with self.vhost.holding_dead_letters():
            self._release(deliveries)
            for delivery in deliveries:
                delivery.queue.reject(delivery.entry, cause)
            self._serve_again(deliveries)

    def _return(self, deliveries: list[Delivery]) -> None:
        self._give_back(deliveries, Return.RETURNED)

    def _fail(self, deliveries: list[Delivery]) -> None:
        self._give_back(deliveries, Return.FAILED)

    def _give_back(self, deliveries: list[Delivery], cause: Return) -> None:
        self._release(deliveries)
        by_queue: dict[int, tuple[Queue, list[Entry]]] = {}
        for delivery in deliveries:
            by_queue.setdefault(id(delivery.queue), (delivery.queue, []))[1].append(delivery.entry)
        with self.vhost.holding_dead_letters():
            for queue, entries in by_queue.values():
                queue.give_back(entries, cause)
            self._serve_again(deliveries)

    def _release(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.consumer is not None:
                delivery.consumer.unacked -= 1
                self._in_window -= 1

    def _serve_again(self, deliveries: list[Delivery]) -> None:
        if self._window:
            self.resume()
            return
        for delivery in deliveries:
            if delivery.consumer is not None:
                self._serve(delivery.consumer)

    def _serve(self, consumer: Consumer) -> None:
        queue = self.vhost.queues.get(consumer.queue_name)
        if queue is not None and not consumer.is_cancelled and consumer is not self._reply_consumer:
            queue.serve(consumer)

    # Its end.

    def queue_name(self, name: str) -> str:
        """The queue that a method means: "" is the last one declared on this channel.

        Raises SoftError (404) if there is none.
        """
        if name:
            return name
        if self.last_queue is None:
            raise not_found("no previously declared queue")
        return self.last_queue

    def close(self) -> None:
        """Cancel the consumers and give back what is held."""
        if not self._is_open:
            return
        self._is_open = False
        self.session.channel_closed(self.number)
        self._patience.end()
        held = self.unacked.clear()
        for tag in list(self.consumers):
            self.cancel(tag)
        self._give_back(held, Return.LOST)

    def fail(self, error: Refusal) -> None:
        """The broker closes the channel."""
        self.close()
        self.sink.closed(error)
