"""Message: what was published. Entry: one message in one queue."""

from collections.abc import Mapping

from amqtask.devbroker import properties, tables
from amqtask.devbroker.properties import Properties, short_field
from amqtask.devbroker.tables import Table, Value

PERSISTENT = 2
ENTRY_OVERHEAD = 324
"""Bytes that a message and its entry cost beside body and properties, as tracemalloc has measured on CPython 3.11."""


class Message:
    """A published message. A value: nobody changes one, and queues share it.

    `address` is the exchange and routing key as two short strings, as `basic.deliver` wants them; the hot path takes it
    over from `basic.publish` unread. `extra_keys` are those of the CC and BCC headers. Not a dataclass: this is built
    for every message.
    """

    __slots__ = (
        "address",
        "arrives_redelivered",
        "body",
        "exchange",
        "expiration_ms",
        "extra_keys",
        "has_died",
        "persistent",
        "priority",
        "properties",
        "routing_key",
        "size",
    )

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        known: Properties,
        body: bytes,
        address: bytes | None = None,
        extra_keys: tuple[str, ...] = (),
        has_died: bool = False,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = known.raw
        self.body = body
        self.address = address if address is not None else short_field(exchange) + short_field(routing_key)
        self.extra_keys = extra_keys
        # Whether the broker itself has dead-lettered it, and its x-death can be believed.
        self.has_died = has_died
        # Whether it counts as delivered before in its next queue (Profile.redelivering_deaths).
        self.arrives_redelivered = False
        self.persistent = known.delivery_mode == PERSISTENT
        self.priority = known.priority
        self.expiration_ms = int(known.expiration) if known.expiration is not None else None
        self.size = len(body)

    @classmethod
    def of(
        cls, exchange: str, routing_key: str, body: bytes = b"", named: Mapping[str, Value] | None = None
    ) -> "Message":
        """A message from properties by name: `Message.of("", "q", b"x", {"delivery_mode": 2})`."""
        return cls(exchange, routing_key, properties.scan(properties.encode(named or {})), body)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every routing key: the publisher's, then those of CC and BCC."""
        return (self.routing_key, *self.extra_keys)

    @property
    def named(self) -> dict[str, Value]:
        """The properties by name, decoded."""
        return properties.decode(self.properties)

    @property
    def headers(self) -> Table:
        field = properties.split(self.properties)[properties.HEADERS]
        return {} if field is None else tables.decode(field[4:])

    def __repr__(self) -> str:
        return f"Message({self.exchange!r}, {self.routing_key!r}, {self.body[:60]!r}, {self.named})"


class Entry:
    """One message in one queue. `sequence` is its place; `expires_at` is in seconds since the epoch."""

    __slots__ = (
        "acquired",
        "deliveries",
        "expires_at",
        "message",
        "redelivered",
        "retry_at",
        "row",
        "sequence",
        "size",
    )

    def __init__(self, message: Message, sequence: int, expires_at: float | None) -> None:
        self.message = message
        self.sequence = sequence
        self.expires_at = expires_at
        self.redelivered = False
        # What a quorum queue counts: failed deliveries, and times that a consumer had it.
        self.deliveries = 0
        self.acquired = 0
        # When a delayed retry puts it back (RabbitMQ 4.3).
        self.retry_at: float | None = None
        # Its row in the store, if it is kept.
        self.row: int | None = None
        self.size = message.size + len(message.properties) + ENTRY_OVERHEAD
