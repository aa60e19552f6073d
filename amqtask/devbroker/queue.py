"""Queue: a classic queue, and what all queues have in common."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.consumers import Consumer, Consumers, SingleActive
from amqtask.devbroker.context import Context
from amqtask.devbroker.errors import access_refused
from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.ready import Ready
from amqtask.devbroker.timers import Timer


class DeathReason(enum.Enum):
    """Why a message is dead-lettered, as `x-death` says it."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    MAXLEN = "maxlen"
    DELIVERY_LIMIT = "delivery_limit"


class Return(enum.Enum):
    """Why a message comes back to its queue."""

    RETURNED = "nack or recover"
    FAILED = "reject"
    LOST = "the channel or connection is gone"
    TIMED_OUT = "not acknowledged in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A message on its way to a dead-letter exchange.

    `time` is in seconds since the epoch; a message that was never let in has no
    entry, and one that only waited has no cause.
    """

    message: Message
    reason: DeathReason
    time: int
    entry: Entry | None = None
    cause: Return | None = None


class Owner(Protocol):
    """The virtual host of a queue."""

    @property
    def name(self) -> str: ...
    def dead_letter(self, queue: "Queue", death: Death) -> None: ...
    def queue_expired(self, queue: "Queue") -> None: ...


class Queue:
    """A classic queue.

    It keeps one promise throughout: as long as a message is ready, no consumer is available. So a new message looks for
    a consumer only if nothing else waits, and an acknowledgement serves only the consumer that it makes room for.
    """

    def __init__(self, spec: QueueSpec, owner: Owner, context: Context, exclusive_to: object | None = None) -> None:
        self.spec = spec
        self.name = spec.name
        self.owner = owner
        self.context = context
        self.exclusive_to = exclusive_to
        self.is_deleted = False
        self.has_been_consumed = False
        self.unacked = 0
        self.ready = self._make_ready()
        self.consumers = self._make_consumers()
        self._ttl_ms = spec.message_ttl_ms
        self._max_length = spec.max_length
        self._max_bytes = spec.max_length_bytes
        self._is_limited = self._max_length is not None or self._max_bytes is not None
        self._drops_head = spec.overflow == "drop-head"
        self._max_priority = spec.max_priority or 0
        self._is_kept = spec.durable and exclusive_to is None
        self._last_sequence = 0
        self._has_ttl = False
        self._expiry: Timer | None = None
        self._last_used = context.now
        self._arm_idle_timer()

    # Whether `basic.get` with acknowledgement counts messages that expire because they are at the head now (measured on
    # 3.10, 4.0 and 4.3).
    _counts_what_expires_now = False
    # A classic queue does not notice that a publish has changed its head by its priority: such a message expires when
    # the queue is next looked at (an optimisation in rabbit_amqqueue_process.erl; seen on 4.3.6).
    _sees_every_head = False

    def __str__(self) -> str:
        return f"queue '{self.name}' in vhost '{self.owner.name}'"

    # What differs between classic and quorum queues.

    def _make_ready(self) -> Ready:
        return Ready()

    def _make_consumers(self) -> Consumers:
        return SingleActive(by_priority=False) if self.spec.single_active_consumer else Consumers()

    def _keeps(self, message: Message) -> bool:
        return self._is_kept and message.persistent

    def _level(self, message: Message) -> int:
        return min(message.priority or 0, self._max_priority)

    def _is_full_for(self, message: Message) -> bool:
        too_long = self._max_length is not None and len(self.ready) + 1 > self._max_length
        return too_long or (self._max_bytes is not None and self.ready.bytes + message.size > self._max_bytes)

    def _place_returned(self, entry: Entry, cause: Return) -> None:
        self.ready.restore(entry, self._level(entry.message))

    def _mark_redelivered(self, entry: Entry) -> None:
        entry.redelivered = self.context.profile.classic_shows_redelivering_deaths

    def outgoing(self, entry: Entry, *, is_get: bool = False) -> Message:
        """The message as a consumer or `basic.get` gets it."""
        return entry.message

    # Publishing.

    @property
    def message_count(self) -> int:
        return len(self.ready)

    def snapshot(self) -> list[Message]:
        """What is ready, in order."""
        return [self.outgoing(entry) for entry in self.ready]

    def publish(self, message: Message) -> bool:
        """Take a message in; False if the queue is full and refuses."""
        if self._is_limited and not self._drops_head and self._is_full_for(message):
            if self.spec.overflow == "reject-publish-dlx":
                self.owner.dead_letter(
                    self, Death(message=message, reason=DeathReason.MAXLEN, time=int(self.context.now))
                )
            return False
        entry = self._enter(message)
        if not self.ready:
            consumer = self.consumers.next()
            if consumer is not None:
                self._hand_over(consumer, entry)
                return True
        self.ready.append(entry, self._level(message))
        has_dropped = self._is_limited and self._drop_surplus()
        if has_dropped or len(self.ready) == 1 or self._sees_every_head:
            self._drop_expired()
        return True

    def recall(self, entry: Entry) -> None:
        """Put an entry in that a store has kept from an earlier life."""
        self._last_sequence = max(self._last_sequence, entry.sequence)
        self.context.memory += entry.size
        self.ready.append(entry, self._level(entry.message))
        self._has_ttl = self._has_ttl or entry.expires_at is not None

    def recall_delivered(self, sequence: int) -> None:
        """In that life it had handed out entries up to this one: new ones come behind it."""
        self._last_sequence = max(self._last_sequence, sequence)

    def resume(self) -> None:
        """All entries are recalled: time goes on."""
        self._drop_expired()

    def _enter(self, message: Message) -> Entry:
        context = self.context
        expires_at = None
        ttl = message.expiration_ms
        if ttl is None or (self._ttl_ms is not None and self._ttl_ms < ttl):
            ttl = self._ttl_ms
        if ttl is not None:
            expires_at = context.now + ttl / 1000
            self._has_ttl = True
        self._last_sequence += 1
        entry = Entry(message, self._last_sequence, expires_at)
        context.memory += entry.size
        if message.arrives_redelivered:
            self._mark_redelivered(entry)
        if self._keeps(message):
            context.journal.added(self.owner.name, self.name, entry)
        return entry

    def _leave(self, entry: Entry) -> None:
        self.context.memory -= entry.size
        if entry.row is not None and not self.is_deleted:
            self.context.journal.removed(entry)

    # Delivering.

    def take(self, *, no_ack: bool = False) -> tuple[Entry, int] | None:
        """Take the next message out for `basic.get`, and say how many are left. None if nothing is ready.

        The entry is to be settled like any other.
        """
        self._last_used = self.context.now
        self._drop_expired()
        if not self.ready:
            return None
        entry = self.ready.pop()
        self._hand_out(entry)
        behind = len(self.ready)
        self._drop_expired()
        return entry, behind if self._counts_what_expires_now and not no_ack else len(self.ready)

    def dispatch(self) -> None:
        """Hand out ready messages as long as a consumer takes one."""
        while self.ready:
            consumer = self.consumers.next()
            if consumer is None:
                return
            self._drop_expired()
            if self.ready:
                self._hand_over(consumer, self._pop())

    def serve(self, consumer: Consumer) -> None:
        """Hand out ready messages to a consumer that has room again."""
        if self.spec.single_active_consumer:
            self.dispatch()
            return
        while self.ready and consumer.available:
            self._drop_expired()
            if self.ready:
                self._hand_over(consumer, self._pop())

    def _pop(self) -> Entry:
        entry = self.ready.pop()
        self._drop_expired()
        return entry

    def _hand_over(self, consumer: Consumer, entry: Entry) -> None:
        self._hand_out(entry)
        consumer.channel.deliver(consumer, entry)

    def _hand_out(self, entry: Entry) -> None:
        self.unacked += 1
        if entry.row is not None:
            self.context.journal.delivered(self.owner.name, self.name, entry)

    # Settling. Each entry that was taken or delivered comes back by exactly one of these.

    def acknowledge(self, entry: Entry) -> None:
        """It is done with."""
        self.unacked -= 1
        self._leave(entry)

    def reject(self, entry: Entry, cause: Return = Return.FAILED) -> None:
        """It is refused, and not to be tried again."""
        self.unacked -= 1
        if self.is_deleted:
            self._leave(entry)
        else:
            self._bury(entry, DeathReason.REJECTED, cause)

    def give_back(self, entries: Sequence[Entry], cause: Return) -> None:
        """They are to be delivered again, as soon as a consumer takes them."""
        self.unacked -= len(entries)
        for entry in entries:
            if self.is_deleted:
                self._leave(entry)
            else:
                entry.redelivered = True
                self._place_returned(entry, cause)
        if not self.is_deleted:
            self._go_on()

    def _go_on(self) -> None:
        """Something is back in the queue: keep the limits, and hand out."""
        if self._is_limited:
            self._drop_surplus()
        self._drop_expired()
        self.dispatch()

    def _bury(self, entry: Entry, reason: DeathReason, cause: Return | None = None) -> None:
        """It leaves the queue without having been consumed."""
        if self.spec.dead_letter_exchange is not None:
            self.owner.dead_letter(self, self._death(entry, reason, cause))
        self._leave(entry)

    def _death(self, entry: Entry, reason: DeathReason, cause: Return | None) -> Death:
        return Death(message=entry.message, reason=reason, time=int(self.context.now), entry=entry, cause=cause)

    def buried(self, death: Death, *, delivered: bool) -> None:
        """What became of a dead letter: whether a queue has taken it. A classic queue does not care."""

    # Limits and expiry.

    def _drop_surplus(self) -> bool:
        """Whether something had to go."""
        has_dropped = False
        while self._drops_head and self.ready and self._is_over_limit():
            has_dropped = True
            entry = self.ready.pop()
            self._bury(entry, DeathReason.MAXLEN)
        return has_dropped

    def _is_over_limit(self) -> bool:
        too_long = self._max_length is not None and len(self.ready) > self._max_length
        return too_long or (self._max_bytes is not None and self.ready.bytes > self._max_bytes)

    def _drop_expired(self) -> None:
        """Messages expire at the head of the queue only; one that is due waits behind one that is not."""
        now = self.context.now
        while self._has_ttl and self.ready:
            head = self.ready.peek()
            if head.expires_at is None:
                return
            if head.expires_at > now:
                self._arm_expiry(head.expires_at)
                return
            self.ready.pop()
            self._bury(head, DeathReason.EXPIRED)

    def _arm_expiry(self, when: float) -> None:
        if self._expiry is not None:
            if self._expiry.when <= when:
                return
            self._expiry.cancel()
        self._expiry = self.context.timers.at(when, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        if not self.is_deleted:
            self._drop_expired()

    # Consumers.

    def subscribe(self, consumer: Consumer) -> None:
        """Add a consumer; the caller dispatches afterwards.

        Raises SoftError (403) if it or another wants to be alone.
        """
        others = len(self.consumers)
        if consumer.exclusive and self.spec.single_active_consumer:
            raise access_refused(f"{self} has a single active consumer; it takes no exclusive one")
        if others and (consumer.exclusive or any(other.exclusive for other in self.consumers)):
            raise access_refused(f"{self} in exclusive use")
        self.has_been_consumed = True
        self.consumers.add(consumer)

    def unsubscribe(self, consumer: Consumer) -> None:
        """Remove a consumer; what it holds stays with its channel."""
        if self.is_deleted:
            return
        self.consumers.remove(consumer)
        if not len(self.consumers):
            self._last_used = self.context.now
            self._arm_idle_timer()

    @property
    def is_abandoned(self) -> bool:
        """Whether an auto-delete queue has lost its last consumer."""
        return self.spec.auto_delete and self.has_been_consumed and not len(self.consumers)

    # The queue's own life.

    def purge(self) -> int:
        """Drop what is ready, and say how many there were."""
        entries = self.ready.clear()
        for entry in entries:
            self._leave(entry)
        return len(entries)

    def delete(self) -> int:
        """The virtual host deletes the queue: nothing is dead-lettered."""
        count = self.message_count
        self.context.memory -= sum(entry.size for entry in self.ready.clear())
        self.is_deleted = True
        return count

    def touch(self) -> None:
        """Somebody has declared it again."""
        self._last_used = self.context.now

    def _arm_idle_timer(self) -> None:
        if self.spec.expires_ms is not None:
            self.context.timers.at(self._last_used + self.spec.expires_ms / 1000, self._expire_queue)

    def _expire_queue(self) -> None:
        if self.is_deleted or len(self.consumers) or self.spec.expires_ms is None:
            return
        if self._last_used + self.spec.expires_ms / 1000 > self.context.now:
            self._arm_idle_timer()
        else:
            self.owner.queue_expired(self)
