"""StreamQueue: a log that keeps what is consumed; each consumer reads from an offset."""

import re
from bisect import bisect_left
from collections.abc import Sequence

from amqtask.devbroker import properties, tables
from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.context import Context
from amqtask.devbroker.emulate import Profile
from amqtask.devbroker.errors import not_implemented, precondition_failed
from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.properties import DELIVERY_MODE
from amqtask.devbroker.queue import Owner, Queue, Return
from amqtask.devbroker.quorum import with_entries, with_headers, with_properties
from amqtask.devbroker.tables import Timestamp, Value

_INTERVAL = re.compile(r"^(\d+)([YMDhms])$")
_SECONDS = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3_600, "m": 60, "s": 1}
COMPACT_AT = 1024
_NESTED = (b"A", b"F")
"""How a list and a table begin."""
_WORDS = ("first", "last", "next")


class StreamQueue(Queue):
    """A stream. Offsets are sequences from 0; nothing leaves but by age and size.

    RabbitMQ cuts streams by whole segments; this one cuts by message, and `last` is the last message, not the last
    chunk.
    """

    def __init__(self, spec: QueueSpec, owner: Owner, context: Context, exclusive_to: object | None = None) -> None:
        super().__init__(spec, owner, context, exclusive_to)
        # Lists with a moving start, since consumers read in their middle; the dead part is cut off now and then.
        self._log: list[Entry] = []
        self._arrived: list[float] = []
        self._start = 0
        self._log_bytes = 0
        self._last_sequence = -1

    @property
    def message_count(self) -> int:
        return len(self._log) - self._start

    @property
    def _first_offset(self) -> int:
        return self._last_sequence - self.message_count + 1

    def _keeps(self, message: Message) -> bool:
        return True

    def snapshot(self) -> list[Message]:
        return [self.outgoing(entry) for entry in self._log[self._start :]]

    def publish(self, message: Message) -> bool:
        self._last_sequence += 1
        entry = Entry(_as_kept(message, self.context.profile), self._last_sequence, None)
        self.context.memory += entry.size
        self.context.journal.added(self.owner.name, self.name, entry)
        self._append(entry, self.context.now)
        for consumer in list(self.consumers):
            self.serve(consumer)
        return True

    def recall(self, entry: Entry) -> None:
        self._last_sequence = entry.sequence
        self.context.memory += entry.size
        self._append(entry, self.context.now)

    def _append(self, entry: Entry, arrived: float) -> None:
        self._log.append(entry)
        self._arrived.append(arrived)
        self._log_bytes += entry.message.size
        self._cut()

    def _cut(self) -> None:
        longest, oldest = self.spec.max_length_bytes, self.spec.max_age
        while self.message_count > 1 and (
            (longest is not None and self._log_bytes > longest)
            or (oldest is not None and self._arrived[self._start] < self.context.now - oldest)
        ):
            entry = self._log[self._start]
            self._start += 1
            self._log_bytes -= entry.message.size
            self._leave(entry)
        if self._start > COMPACT_AT and self._start > len(self._log) // 2:
            del self._log[: self._start]
            del self._arrived[: self._start]
            self._start = 0

    # Consumers: each has its own place; credit comes back with every acknowledgement.

    def subscribe(self, consumer: Consumer) -> None:
        if consumer.no_ack:
            raise not_implemented(f"automatic acknowledgement not supported by stream queues {self}")
        if not consumer.prefetch:
            raise precondition_failed(f"consumer prefetch count is not set for '{self}'")
        consumer.offset = self._offset(consumer.arguments.get("x-stream-offset"))
        super().subscribe(consumer)

    def _offset(self, wanted: Value) -> int:
        match wanted:
            case None | "next":
                return self._last_sequence + 1
            case "first":
                return self._first_offset
            case "last":
                return max(self._first_offset, self._last_sequence)
            case Timestamp():
                return self._offset_at(float(wanted))
            case int() if not isinstance(wanted, bool):
                return max(wanted, self._first_offset)
            case str() if matched := _INTERVAL.match(wanted):
                since = self.context.now - int(matched[1]) * _SECONDS[matched[2]]
                return self._offset_at(since)
        raise precondition_failed(
            f"x-stream-offset {wanted!r} is none of {', '.join(_WORDS)}, an offset, a timestamp, an interval"
        )

    def _offset_at(self, when: float) -> int:
        return self._first_offset + bisect_left(self._arrived, when, self._start) - self._start

    def dispatch(self) -> None:
        for consumer in list(self.consumers):
            self.serve(consumer)

    def serve(self, consumer: Consumer) -> None:
        consumer.offset = max(consumer.offset, self._first_offset)
        room = consumer.prefetch - consumer.unacked
        if consumer.offset > self._last_sequence or room <= 0:
            return
        start = self._start + consumer.offset - self._first_offset
        for entry in self._log[start : start + room]:
            if not consumer.available:
                return
            consumer.offset = entry.sequence + 1
            self._hand_over(consumer, entry)

    def _hand_out(self, entry: Entry) -> None:
        # Whoever reads it again reads what is there for all; that is no second delivery.
        self.unacked += 1

    def outgoing(self, entry: Entry, *, is_get: bool = False) -> Message:
        return with_headers(entry.message, {"x-stream-offset": entry.sequence})

    # Settling: the message stays, and the client goes on, whatever it says; before 4.0 it may not say all.

    def acknowledge(self, entry: Entry) -> None:
        self.unacked -= 1

    def reject(self, entry: Entry, cause: Return = Return.FAILED) -> None:
        self.give_back([entry], cause)

    def give_back(self, entries: Sequence[Entry], cause: Return) -> None:
        is_asked = cause in (Return.RETURNED, Return.FAILED)
        if is_asked and not self.context.profile.streams_take_refusals:
            raise not_implemented(f"basic.nack and basic.reject not supported by stream queues {self}")
        self.unacked -= len(entries)

    def take(self, *, no_ack: bool = False) -> tuple[Entry, int] | None:
        raise not_implemented(f"basic.get not supported by stream queues {self}")

    def purge(self) -> int:
        raise not_implemented(f"queue.purge not supported by stream queues {self}")

    def delete(self) -> int:
        """RabbitMQ does not say how many messages there were."""
        self.context.memory -= sum(entry.size for entry in self._log[self._start :])
        self._log, self._arrived, self._start = [], [], 0
        self.is_deleted = True
        return 0


def _as_kept(message: Message, profile: Profile) -> Message:
    """Streams keep messages as AMQP 1.0 has them: lists and tables have no place but in annotations."""
    known = properties.scan(message.properties)
    headers = tables.split(known.headers)
    kept = {name: value for name, value in headers.items() if value[:1] not in _NESTED or _is_noted(name, profile)}
    if len(kept) < len(headers):
        message = with_entries(message, kept)
    if profile.streams_set_delivery_mode and known.delivery_mode is None:
        message = with_properties(message, properties.with_field(message.properties, DELIVERY_MODE, b"\x01"))
    return message


def _is_noted(header: str, profile: Profile) -> bool:
    """Whether this header is an annotation, which may be a list."""
    return profile.streams_keep_annotations and (header == "CC" or header.startswith("x-"))
