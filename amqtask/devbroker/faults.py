"""Faults: what a test can make go wrong between a publisher and the broker.

Blocking, closing and time travel are methods of `Broker`.
"""

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

FOREVER = -1


@dataclass(slots=True)
class Faults:
    """Switches that a broker looks at. Counts go down as they are used; FOREVER does not. Times are in seconds."""

    refuse_publishes: int = 0
    """The next n publishes are not let in; with confirms they are nacked."""

    drop_confirms: int = 0
    """The next n publishes are let in, and their publisher never hears of it."""

    confirm_delay: float = 0.0
    """Confirms are held back so long by the broker's clock."""

    duplicate_deliveries: int = 0
    """The next n messages let in are put into their queues twice, as a publisher's retry would."""

    message_size_max: int = 0
    """Messages of more bytes are refused with 406, as by RabbitMQ's `max_message_size`; 0: the version's own limit."""

    consumer_timeout: float = 0.0
    """Deliveries on channels opened from now on may stay unacknowledged so long; 0: as the broker was told."""

    @property
    def is_active(self) -> bool:
        """Whether one of them has to be looked at when a message is let in."""
        return bool(self.refuse_publishes or self.drop_confirms or self.confirm_delay or self.duplicate_deliveries)

    def clear(self) -> None:
        """Everything works again."""
        self.refuse_publishes = self.drop_confirms = self.duplicate_deliveries = 0
        self.confirm_delay = self.consumer_timeout = 0.0
        self.message_size_max = 0

    def divert(self, queues: tuple[T, ...]) -> tuple[tuple[T, ...], bool]:
        """Where the next message goes that was meant for `queues`, and whether it is let in."""
        if self.use("refuse_publishes"):
            return (), False
        return (queues * 2, True) if queues and self.use("duplicate_deliveries") else (queues, True)

    def use(self, name: str) -> bool:
        """Whether the fault `name` is on, once."""
        count: int = getattr(self, name)
        if count > 0:
            setattr(self, name, count - 1)
        return bool(count)
