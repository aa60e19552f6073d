"""QuorumQueue: what a quorum queue does otherwise than a classic one.

There is one member here: no Raft, no replicas.
"""

import math
from collections import deque

from amqtask.devbroker import properties, tables
from amqtask.devbroker.consumers import Consumer, Consumers, SingleActive
from amqtask.devbroker.emulate import Counting, Priorities
from amqtask.devbroker.errors import resource_locked
from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.queue import Death, DeathReason, Queue, Return
from amqtask.devbroker.ready import Ready, ReturnsFirst, TwoLevels
from amqtask.devbroker.tables import Value

FAILURES = frozenset({Return.FAILED, Return.LOST})
WORKER_WINDOW = 32
"""Messages that the worker of an at-least-once dead-letter exchange keeps in flight.

As many that cannot be routed stop it.
"""
WORKER_RETRY = 180.0
"""Seconds until that worker tries again."""

_LEVEL_MAX = 31
_LEVEL_UNSET = 4


class QuorumQueue(Queue):
    """A quorum queue: counters, delivery limit, its own order, at-least-once dead-lettering, delayed retry."""

    _counts_what_expires_now = True
    _sees_every_head = True

    def _make_ready(self) -> Ready:
        profile = self.context.profile
        self._limit = self._delivery_limit()
        self._to_bury: deque[Death] = deque()
        self._unburied: deque[Death] = deque()
        self._in_flight = 0
        return TwoLevels() if profile.priorities is Priorities.TWO_LEVELS else ReturnsFirst()

    def _make_consumers(self) -> Consumers:
        if self.spec.single_active_consumer:
            return SingleActive(by_priority=self.context.profile.sac_by_priority)
        return Consumers()

    def _delivery_limit(self) -> int | None:
        limit = self.spec.delivery_limit
        profile = self.context.profile
        if limit is None:
            return profile.default_delivery_limit
        return None if limit < 0 and profile.negative_limit_is_none else limit

    def _keeps(self, message: Message) -> bool:
        return True

    def _level(self, message: Message) -> int:
        match self.context.profile.priorities:
            case Priorities.IGNORED:
                return 0
            case Priorities.TWO_LEVELS:
                return TwoLevels.HIGH if (message.priority or 0) > _LEVEL_UNSET else TwoLevels.NORMAL
            case Priorities.STRICT:
                return _LEVEL_UNSET if message.priority is None else min(message.priority, _LEVEL_MAX)

    def subscribe(self, consumer: Consumer) -> None:
        # Who wants to be the only consumer is taken for one of many.
        consumer.exclusive = False
        super().subscribe(consumer)

    def take(self, *, no_ack: bool = False) -> tuple[Entry, int] | None:
        if self.spec.single_active_consumer:
            reason = "basic.get operations are not supported by quorum queues with single active consumer"
            raise resource_locked(f"cannot obtain access to locked {self}. {reason}")
        return super().take(no_ack=no_ack)

    def _is_full_for(self, message: Message) -> bool:
        # One message more than the limit gets in: the publisher is told to stop by the one that is too many.
        return self._is_over_limit()

    def _mark_redelivered(self, entry: Entry) -> None:
        entry.redelivered = True
        # The failures of its former life go on here; how often it was acquired is counted anew, and shown as 1 until
        # then.
        entry.deliveries = 1

    def _place_returned(self, entry: Entry, cause: Return) -> None:
        self._count(entry, cause)
        if self._limit is not None and entry.deliveries > self._limit:
            self._bury(entry, DeathReason.DELIVERY_LIMIT, cause)
            return
        if entry.row is not None:
            self.context.journal.changed(entry)
        pause = self._retry_pause(entry, cause)
        if pause:
            self.context.timers.at(self.context.now + pause, lambda: self._retry(entry, cause))
        else:
            self._place_again(entry, cause)

    def _drop_expired(self) -> None:
        super()._drop_expired()
        if self._has_ttl and self.context.profile.priorities is Priorities.STRICT:
            # There a message expires at the head of its priority, even if others stand above it.
            for level in self.ready.levels:
                self._drop_expired_of(level)

    def _drop_expired_of(self, level: int) -> None:
        while (head := self.ready.head(level)) is not None and head.expires_at is not None:
            if head.expires_at > self.context.now:
                self._arm_expiry(head.expires_at)
                return
            self._bury(self.ready.pop_head(level), DeathReason.EXPIRED)

    def _place_again(self, entry: Entry, cause: Return) -> None:
        # What a client gives back goes to the back there; what a lost channel held goes to the front in every version.
        is_asked = cause in (Return.RETURNED, Return.FAILED)
        if is_asked and self._limit is None and self.context.profile.returns_to_back_without_limit:
            self._last_sequence += 1
            entry.sequence = self._last_sequence
            self.ready.append(entry, self._level(entry.message))
        elif isinstance(self.ready, ReturnsFirst):
            self.ready.give_back(entry)

    def _count(self, entry: Entry, cause: Return) -> None:
        entry.acquired += 1
        if self.context.profile.counting is not Counting.ACQUIRED or cause in FAILURES:
            entry.deliveries += 1

    def _retry_pause(self, entry: Entry, cause: Return) -> float:
        """Seconds that a delayed retry waits: the shortest time for each failure so far, up to the longest."""
        kind = self.spec.arguments.get("x-delayed-retry-type")
        shortest, longest = (self._milliseconds(f"x-delayed-retry-{end}") for end in ("min", "max"))
        is_meant = kind == "all" or kind == ("failed" if cause in FAILURES else "returned")
        if not self.context.profile.delayed_retry or not is_meant or not shortest:
            return 0.0
        pause = shortest * max(1, entry.deliveries)
        return min(pause, longest or pause) / 1000

    def _milliseconds(self, name: str) -> int:
        value = self.spec.arguments.get(name)
        return value if isinstance(value, int) else 0

    def _retry(self, entry: Entry, cause: Return) -> None:
        if self.is_deleted:
            self._leave(entry)
            return
        self._place_again(entry, cause)
        self._go_on()

    def _go_on(self) -> None:
        # A quorum queue hands out first, and drops what is too much then.
        self._drop_expired()
        self.dispatch()
        if self._is_limited:
            self._drop_surplus()

    def outgoing(self, entry: Entry, *, is_get: bool = False) -> Message:
        counts = self._counts(entry, is_get=is_get)
        return with_headers(entry.message, counts) if counts else entry.message

    def _counts(self, entry: Entry, *, is_get: bool) -> dict[str, Value]:
        counting = self.context.profile.counting
        counts: dict[str, Value] = {}
        acquired = entry.acquired or int(entry.message.arrives_redelivered)
        if counting is Counting.ACQUIRED and acquired:
            counts["x-acquired-count"] = acquired
        if entry.deliveries or (is_get and counting is Counting.FROM_ZERO):
            counts["x-delivery-count"] = entry.deliveries
        return counts

    # Dead-lettering at least once: a message that no queue takes is not given up, and 32 of them stop all others.

    def _bury(self, entry: Entry, reason: DeathReason, cause: Return | None = None) -> None:
        if self.spec.dead_letter_exchange is None or not self.spec.dead_letters_at_least_once:
            super()._bury(entry, reason, cause)
            return
        self._to_bury.append(self._death(entry, reason, cause))
        self._send_dead_letters()

    def _send_dead_letters(self) -> None:
        while self._to_bury and self._in_flight + len(self._unburied) < WORKER_WINDOW:
            self._in_flight += 1
            self.owner.dead_letter(self, self._to_bury.popleft())

    def buried(self, death: Death, *, delivered: bool) -> None:
        if not self.spec.dead_letters_at_least_once or death.entry is None:
            return
        self._in_flight -= 1
        if delivered or self.is_deleted:
            self._leave(death.entry)
        else:
            if not self._unburied:
                self.context.timers.at(self._retry_at(), self._retry_dead_letters)
            self._unburied.append(death)
        self._send_dead_letters()

    def _retry_at(self) -> float:
        """The next retry. Those before anything else can happen are skipped: eight years have a million of them."""
        context = self.context
        soonest = context.horizon
        due = context.timers.next_at()
        if due is not None:
            soonest = min(soonest, due)
        return context.now + WORKER_RETRY * max(1, math.floor((soonest - context.now) / WORKER_RETRY))

    def _retry_dead_letters(self) -> None:
        if not self.is_deleted:
            self._to_bury.extendleft(reversed(self._unburied))
            self._unburied.clear()
            self._send_dead_letters()


def with_headers(message: Message, named: dict[str, Value]) -> Message:
    """`message` with headers replaced or added."""
    known = properties.scan(message.properties)
    entries = tables.split(known.headers) | {name: tables.encode_value(value) for name, value in named.items()}
    return with_entries(message, entries)


def with_entries(message: Message, entries: dict[str, bytes]) -> Message:
    """`message` with these headers, encoded, and no others."""
    return with_properties(message, properties.with_headers(message.properties, entries))


def with_properties(message: Message, raw: bytes) -> Message:
    """`message` with these properties, encoded."""
    return Message(
        message.exchange,
        message.routing_key,
        properties.scan(raw),
        message.body,
        message.address,
        message.extra_keys,
        message.has_died,
    )
