"""Consumer: takes deliveries from the node's queues and settles them. A participant of the node's session "in".

Deliveries are handed on as they come; verdicts come back from any thread. Acknowledgements of one turn are sent
together: with one `multiple` ack where tags are contiguous. One ack a message costs RabbitMQ twice the CPU (measured:
17.8 k/s with one each, 31.1 k/s with one in twenty).
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from amqtask.core.declare import Arguments, DeclareOp, DeclareQueue
from amqtask.core.message import Delivery, Verdict
from amqtask.core.window import Window
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed, NotFound
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("consumer")

RESUBSCRIBE_DELAY = 1.0
"""Seconds before a consumer that the server cancelled is subscribed again:

its queue may be about to be declared anew.
"""

TAKEN_WITHIN = 0.5
"""Seconds in which the broker has taken an acknowledgement.

Measured on 3.10.8, 4.0.5 and 4.3.6: of 1,900 acknowledgements that a quorum queue gets after `basic.cancel`, up to some
hundred are lost when the channel closes at once, and their messages come again. With half a second in between, none is.
"""

OVERDUE = "delivery acknowledgement on channel"
"""What a channel is closed with when a delivery was not acknowledged in time (RabbitMQ 3.8 to 4.2, 406)."""
MORE_TIME = (
    "raise consumer_timeout in rabbitmq.conf and worker.consumer_timeout, or give the task acks_late=False"
    " (docs/faults.md)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A queue to consume.

    `prefetch` bounds its unacknowledged deliveries; `recipe` declares it where that is wanted.
    """

    queue: str
    prefetch: int
    arguments: Arguments = field(default_factory=dict)


class Consumer(QuietSink):
    """Consumes over one channel.

    `settle` and `pending` may be called from any thread, the rest belongs to the session's.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        receive: Callable[[Delivery, str], None],
        wake: Callable[[], None],
        topology: Sequence[DeclareOp] = (),
        recover: Callable[[str], Sequence[DeclareOp]] = lambda queue: (),
        on_ready: Callable[[], None] = lambda: None,
        on_void: Callable[[int], None] = lambda generation: None,
        ack_batch: int = 50,
        ack_delay: float = 0.05,
        slots: int = 1,
    ) -> None:
        """`receive` takes each delivery with its queue; `on_void` hears that a generation's deliveries are void.

        `topology` is declared on each connection, `recover` says what declares a queue that went missing.
        """
        self._subscriptions = {subscription.queue: subscription for subscription in subscriptions}
        self._receive = receive
        self._wake = wake
        self._topology = tuple(topology)
        self._recover = recover
        self._on_ready = on_ready
        self._on_void = on_void
        self._ack_batch = ack_batch
        self._ack_delay = ack_delay
        self._slots = slots
        self._batch = 1
        self._told_at = 0.0
        self._urgent = False
        self._woken = False
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._generation = 0
        self._window = Window()
        self._verdicts: collections.deque[tuple[Delivery, Verdict]] = collections.deque()
        self._tags: dict[str, str] = {}
        self._missing: dict[str, float] = {}
        self._lost_tags: dict[str, str] = {}
        self._taken_back: set[str] = set()
        """The tags of consumers that were cancelled, whose queues are still there: their messages come again."""
        self._overdue: set[int] = set()
        """The tags of deliveries that were too long here after their consumer had been cancelled from here."""
        self._stopping = False
        self._cancelled: dict[str, str] = {}
        self.paused = False
        """Whether `pause` holds."""

    @property
    def generation(self) -> int:
        """The generation of the channel that is open now; deliveries of an older one are void."""
        return self._generation

    def is_void(self, delivery: Delivery) -> bool:
        """Whether the broker gives this delivery to somebody else. From any thread."""
        return (
            delivery.generation != self._generation
            or delivery.consumer_tag in self._taken_back
            or delivery.tag in self._overdue
        )

    def overdue(self, delivery: Delivery) -> None:
        """The broker waits no longer for this one. From the session's thread.

        RabbitMQ from 4.3 on tells it by cancelling the consumer, so not where `pause` or `resize` has done that.
        """
        if delivery.generation == self._generation and delivery.consumer_tag not in self._tags:
            self._overdue.add(delivery.tag)

    @property
    def unsettled(self) -> int:
        """How many deliveries the broker counts as unacknowledged here."""
        return len(self._window)

    def unsure(self, now: float) -> float:
        """Seconds for which the channel must stay open, so that what was acknowledged last is."""
        return max(0.0, self._told_at + TAKEN_WITHIN - now)

    @property
    def queues(self) -> Mapping[str, Subscription]:
        """What is consumed, by queue."""
        return dict(self._subscriptions)

    @property
    def batch(self) -> int:
        """How many verdicts are told the broker together, while there are enough deliveries to go on with.

        A quarter of the prefetch, so that the broker sends more long before the last of what came is begun.
        """
        return self._batch

    def settle(self, delivery: Delivery, verdict: Verdict, *, at_once: bool = False) -> None:
        """Have the broker told. From any thread; `at_once` where nothing else is going to be settled soon."""
        self._verdicts.append((delivery, verdict))
        if at_once or verdict is not Verdict.ACK:
            self._urgent = True
        elif len(self._verdicts) < self._batch:
            return
        if not self._woken:
            self._woken = True
            self._wake()

    def stop(self) -> None:
        """Take no more deliveries; what came stays to be settled. From the session's thread."""
        self._stopping = True
        channel = self._channel
        if channel is None:
            return
        for tag in list(self._tags):
            self._cancel(channel, tag)
        self._tags.clear()

    def add(self, subscription: Subscription) -> None:
        """Consume one more queue. From the session's thread."""
        self._subscriptions[subscription.queue] = subscription
        if self._channel is not None and not self._stopping:
            self._subscribe(self._channel, subscription)

    def resize(self, queue: str, prefetch: int) -> None:
        """Consume a queue with another prefetch: a new subscription, because AMQP changes none. From the session."""
        subscription = self._subscriptions.get(queue)
        if subscription is None or subscription.prefetch == prefetch:
            return
        self._subscriptions[queue] = replace(subscription, prefetch=prefetch)
        channel = self._channel
        if channel is None or self._stopping or self.paused:
            return
        for tag, name in list(self._tags.items()):
            if name == queue:
                del self._tags[tag]
                self._cancelled[tag] = queue
                self._cancel(channel, tag)
                if self._channel is channel:
                    self._subscribe(channel, self._subscriptions[queue])

    def pause(self) -> None:
        """Take no deliveries until `resume`. From the session's thread."""
        if self.paused:
            return
        self.paused = True
        channel = self._channel
        for tag in list(self._tags):
            if channel is not None and self._channel is channel:
                self._cancel(channel, tag)
        self._tags.clear()

    def resume(self) -> None:
        """Take deliveries again. From the session's thread."""
        if not self.paused:
            return
        self.paused = False
        if self._channel is not None and not self._stopping:
            for queue, subscription in list(self._subscriptions.items()):
                if queue not in self._missing:
                    self._subscribe(self._channel, subscription)

    def remove(self, queue: str) -> bool:
        """Stop consuming a queue; whether it was consumed. From the session's thread."""
        known = self._subscriptions.pop(queue, None) is not None
        self._missing.pop(queue, None)
        for tag, name in list(self._tags.items()):
            if name == queue and self._channel is not None:
                self._cancel(self._channel, tag)
                del self._tags[tag]
        return known

    # The session's calls.

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        if self._topology:
            channel = connection.channel(QuietSink(), confirms=False)
            for op in self._topology:
                channel.declare(op)
            channel.close()
        self._open_channel(connection)
        self._on_ready()

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._void()

    def turn(self, now: float) -> float:
        channel = self._channel
        if channel is None:
            if self._connection is None:
                self._verdicts.clear()
                return NEVER
            self._open_channel(self._connection)
            channel = self._channel
            assert channel is not None, "just opened"
        # Before the verdicts are looked at, so that whoever settles after the look wakes this thread again.
        self._woken = False
        due = self._tell_verdicts(channel, now)
        if self._missing:
            due = min(due, self._resubscribe(now))
        return due

    def delivered(self, delivery: Delivery) -> None:
        self._window.open(delivery.tag)
        queue = self._tags.get(delivery.consumer_tag) or self._cancelled.get(delivery.consumer_tag)
        if queue is None or self._stopping:
            # It was on its way when its consumer was cancelled.
            self._verdicts.append((delivery, Verdict.HAND_BACK))
            return
        self._receive(delivery, queue)

    def cancelled(self, consumer_tag: str) -> None:
        queue = self._tags.pop(consumer_tag, None)
        if queue is not None and not self._stopping:
            self._missing[queue] = 0.0
            self._lost_tags[queue] = consumer_tag

    def closed(self, error: BrokerError) -> None:
        hint = f"; a task runs longer than it waits: {MORE_TIME}" if OVERDUE in error.text else ""
        logger.warning(
            "the broker closed the channel and took its messages back: %s%s; consuming again",
            error,
            hint,
            extra=event("channel-closed"),
        )
        self._void()

    def _open_channel(self, connection: Connection) -> None:
        channel = connection.channel(self, confirms=False)
        self._channel = channel
        self._generation = channel.generation
        self._missing.clear()
        self._lost_tags.clear()
        self._taken_back.clear()
        self._overdue.clear()
        self._cancelled.clear()
        if not self._stopping and not self.paused:
            for subscription in self._subscriptions.values():
                self._subscribe(channel, subscription)

    def _subscribe(self, channel: Channel, subscription: Subscription) -> None:
        channel.qos(subscription.prefetch)
        self._batch = max(1, min(self._ack_batch, max(known.prefetch for known in self._subscriptions.values()) // 4))
        tag = channel.consume(subscription.queue, no_ack=False, exclusive=False, arguments=subscription.arguments)
        self._tags[tag] = subscription.queue

    def _resubscribe(self, now: float) -> float:
        """Declare and consume again the queues whose consumer the server cancelled; when to try next."""
        for queue, due in list(self._missing.items()):
            if self._connection is None:
                break
            if due == 0.0:
                self._missing[queue] = now + RESUBSCRIBE_DELAY
                self._explain_cancel(self._connection, queue)
            elif due <= now:
                self._missing.pop(queue)
                self._revive(self._connection, queue, now)
        return min(self._missing.values(), default=NEVER)

    def _explain_cancel(self, connection: Connection, queue: str) -> None:
        """Say why a consumer was cancelled: AMQP does not, but whether the queue is still there tells it."""
        probe = connection.channel(QuietSink(), confirms=False)
        tag = self._lost_tags.pop(queue, "")
        try:
            probe.declare(DeclareQueue(name=queue, passive=True))
            probe.close()
        except NotFound:
            why = "the queue was deleted, or its node went down"
        except ChannelClosed as error:
            why = str(error)
        else:
            # As RabbitMQ from 4.3 on does with `consumer_timeout`.
            self._taken_back.add(tag)
            why = f"it took its messages back; if a task runs longer than it waits, {MORE_TIME}"
        logger.warning(
            "the broker cancelled the consumer of %r: %s", queue, why, extra=event("consumer-cancelled", queue=queue)
        )

    def _revive(self, connection: Connection, queue: str, now: float) -> None:
        subscription = self._subscriptions.get(queue)
        if subscription is None:
            return
        # On a channel of its own: a refusal closes it, and the working one must not go with it.
        probe = connection.channel(QuietSink(), confirms=False)
        try:
            for op in self._recover(queue):
                probe.declare(op)
            probe.declare(DeclareQueue(name=queue, passive=True))
            probe.close()
        except ChannelClosed as error:
            logger.error("cannot consume %r again: %s", queue, error, extra=event("resubscribe-failed", queue=queue))
            self._missing[queue] = now + 30 * RESUBSCRIBE_DELAY
            return
        if self._channel is None or self.paused:
            return  # whoever opens the channel, or resumes, consumes it
        self._subscribe(self._channel, subscription)
        logger.info("consuming %r again", queue, extra=event("resubscribed", queue=queue))

    def _tell_verdicts(self, channel: Channel, now: float) -> float:
        """Tell the broker what is decided, unless more is going to be soon; when to look again."""
        if self._verdicts:
            due = self._told_at + self._ack_delay
            urgent = self._urgent or self._stopping or self.paused
            if now < due and not urgent and len(self._verdicts) < self._batch:
                return due
            self._urgent = False
            self._told_at = now
            self._take_verdicts(channel)
            for tag, multiple in self._window.flush():
                channel.settle(tag, Verdict.ACK, multiple=multiple)
        # Whoever settles the last of what waits wakes this thread; before that, acknowledgements are looked for.
        return now + self._ack_delay if len(self._window) > self._slots else NEVER

    def _take_verdicts(self, channel: Channel) -> None:
        verdicts, window, generation = self._verdicts, self._window, self._generation
        while verdicts:
            delivery, verdict = verdicts.popleft()
            if delivery.generation != generation:
                continue  # the broker has already given it to somebody else
            if verdict is Verdict.ACK:
                window.ack(delivery.tag)
            else:
                channel.settle(delivery.tag, verdict)
                window.settle(delivery.tag)

    def _cancel(self, channel: Channel, tag: str) -> None:
        try:
            channel.cancel(tag)
        except ChannelClosed as error:
            logger.warning("the broker closed the channel: %s", error, extra=event("channel-closed"))
            self._void()

    def _void(self) -> None:
        """Nothing that came on the channel can be settled any more: the broker gives it to somebody else."""
        generation = self._generation
        self._channel = None
        self._generation = 0
        self._window.clear()
        self._tags.clear()
        self._verdicts.clear()
        self._on_void(generation)
