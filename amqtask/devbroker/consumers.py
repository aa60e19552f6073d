"""Consumer and Consumers: who gets the next message of a queue."""

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from amqtask.devbroker.message import Entry
from amqtask.devbroker.tables import Table


class Receiver(Protocol):
    """The channel of a consumer, as a queue sees it."""

    @property
    def accepts(self) -> bool:
        """Whether deliveries may be sent now: the client takes them and the channel's window has room."""
        ...

    def deliver(self, consumer: "Consumer", entry: Entry) -> None: ...
    def cancelled_by_broker(self, consumer: "Consumer") -> None: ...


class Consumer:
    """A subscription. `prefetch` 0 is no limit; `timeout` is in seconds."""

    __slots__ = (
        "arguments",
        "channel",
        "delivery_prefix",
        "exclusive",
        "is_cancelled",
        "no_ack",
        "offset",
        "prefetch",
        "priority",
        "queue_name",
        "tag",
        "timeout",
        "unacked",
    )

    def __init__(
        self,
        tag: str,
        channel: Receiver,
        queue_name: str,
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        prefetch: int = 0,
        arguments: Table | None = None,
    ) -> None:
        self.tag = tag
        self.channel = channel
        self.queue_name = queue_name
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.prefetch = prefetch
        self.arguments = arguments or {}
        priority = self.arguments.get("x-priority", 0)
        self.priority = priority if isinstance(priority, int) else 0
        self.unacked = 0
        self.is_cancelled = False
        self.timeout: float | None = None
        # The next offset of a stream.
        self.offset = 0
        # The start of every basic.deliver frame to it, kept by the connection.
        self.delivery_prefix = b""

    @property
    def available(self) -> bool:
        return (not self.prefetch or self.unacked < self.prefetch) and self.channel.accepts


class Consumers:
    """The consumers of a queue: higher priorities first, in turn within one."""

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[Consumer]] = {}
        self._levels: list[deque[Consumer]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Consumer]:
        for level in self._levels:
            yield from level

    def add(self, consumer: Consumer) -> None:
        self._by_priority.setdefault(consumer.priority, deque()).append(consumer)
        self._changed(1)

    def remove(self, consumer: Consumer) -> None:
        level = self._by_priority[consumer.priority]
        level.remove(consumer)
        if not level:
            del self._by_priority[consumer.priority]
        self._changed(-1)

    def next(self) -> Consumer | None:
        """Whose turn it is among those who can take a message now."""
        for level in self._levels:
            for _ in range(len(level)):
                consumer = level[0]
                level.rotate(-1)
                if consumer.available:
                    return consumer
        return None

    def is_active(self, consumer: Consumer) -> bool:
        """Whether it can get messages at all."""
        return consumer in self._by_priority.get(consumer.priority, ())

    def _changed(self, difference: int) -> None:
        self._count += difference
        self._levels = [self._by_priority[priority] for priority in sorted(self._by_priority, reverse=True)]


class SingleActive(Consumers):
    """Only one consumer gets messages; another takes over when it goes.

    With `by_priority` (quorum queues from RabbitMQ 4.0) one of higher priority replaces it as soon as it holds no
    message.
    """

    def __init__(self, *, by_priority: bool) -> None:
        super().__init__()
        self._waiting: list[Consumer] = []
        self._by_rank = by_priority
        self._active: Consumer | None = None

    def add(self, consumer: Consumer) -> None:
        super().add(consumer)
        self._waiting.append(consumer)
        self._elect()

    def remove(self, consumer: Consumer) -> None:
        super().remove(consumer)
        self._waiting.remove(consumer)
        if self._active is consumer:
            self._active = None
        self._elect()

    def next(self) -> Consumer | None:
        self._elect()
        active = self._active
        if active is None or self._is_outranked(active) or not active.available:
            return None
        return active

    def is_active(self, consumer: Consumer) -> bool:
        return consumer is self._active

    def _elect(self) -> None:
        if self._active is not None and not (self._is_outranked(self._active) and self._active.unacked == 0):
            return
        # max() keeps the first of equals: the one that waits longest.
        self._active = max(self._waiting, key=self._rank, default=None)

    def _is_outranked(self, active: Consumer) -> bool:
        return any(self._rank(other) > self._rank(active) for other in self._waiting)

    def _rank(self, consumer: Consumer) -> int:
        return consumer.priority if self._by_rank else 0
