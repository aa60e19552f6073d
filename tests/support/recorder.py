"""A ChannelSink that keeps what it is told, and a connection to go with it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from amqtask.core.message import Delivery, Envelope
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError

DEADLINE = 60.0


@dataclass(slots=True)
class Recorder:
    """What a channel told its sink, by kind and in order."""

    deliveries: list[Delivery] = field(default_factory=list)
    confirms: list[tuple[int, bool, bool]] = field(default_factory=list)
    returns: list[tuple[Envelope, int, str, str, str]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    errors: list[BrokerError] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def delivered(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.order.append("delivered")

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        self.confirms.append((sequence, multiple, ok))
        self.order.append("confirmed")

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        self.returns.append((envelope, code, text, exchange, routing_key))
        self.order.append("returned")

    def cancelled(self, consumer_tag: str) -> None:
        self.cancels.append(consumer_tag)
        self.order.append("cancelled")

    def closed(self, error: BrokerError) -> None:
        self.errors.append(error)
        self.order.append("closed")

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all deliveries, in order."""
        return [delivery.envelope.body for delivery in self.deliveries]

    def settled_sequences(self, published: int) -> dict[int, bool]:
        """Which of the sequence numbers up to `published` were confirmed, and how, `multiple` honoured."""
        outcome: dict[int, bool] = {}
        for sequence, multiple, ok in self.confirms:
            numbers = [n for n in range(1, sequence + 1) if n not in outcome] if multiple else [sequence]
            for number in numbers:
                assert number not in outcome, f"{number} was confirmed twice"
                assert number <= published, f"{number} was confirmed and never published"
                outcome[number] = ok
        return outcome


def poll_until(connection: Connection, condition: Callable[[], object], message: str = "") -> None:
    """Poll until the condition is true, as a session would."""
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, f"{message or 'what was waited for did not come'} within {DEADLINE:g} s"
        connection.poll(1.0)


def poll_for(connection: Connection, seconds: float) -> None:
    """Poll for so long, whatever comes."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        connection.poll(left)
