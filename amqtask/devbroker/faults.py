"""Faults: what a test can make go wrong between a publisher and the broker.

Blocking, closing and time travel are methods of `Broker`.
"""

from dataclasses import dataclass

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

    @property
    def is_active(self) -> bool:
        """Whether one of them has to be looked at when a message is let in."""
        return bool(self.refuse_publishes or self.drop_confirms or self.confirm_delay or self.duplicate_deliveries)

    def clear(self) -> None:
        """Everything works again."""
        self.refuse_publishes = self.drop_confirms = self.duplicate_deliveries = 0
        self.confirm_delay = 0.0
        self.message_size_max = 0

    def use(self, name: str) -> bool:
        """Whether the fault `name` is on, once."""
        count: int = getattr(self, name)
        if count > 0:
            setattr(self, name, count - 1)
        return bool(count)
