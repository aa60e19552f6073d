"""Shelves: where the control log stands. A stream; where the broker has none, a queue that is read and given back.

Both are durable, are read from the first entry on, and have the order in which was written.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Delivery, Envelope, HeaderValue, Verdict
from amqtask.core.queue_arguments import NO_DELIVERY_LIMIT
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed, NotFound
from amqtask.session import NEVER

PREFETCH = 500
FEW = 25
HOLD = 1.0
"""Seconds for which a queue is held after more acknowledgements than that: RabbitMQ has 32 of them on their way to a
quorum queue, and drops the others when the channel is closed."""

STREAM: dict[str, HeaderValue] = {
    "x-queue-type": "stream",
    "x-max-length-bytes": 64 * 2**20,
    "x-stream-max-segment-size-bytes": 2**20,
}
_QUEUE: dict[str, HeaderValue] = {"x-single-active-consumer": True, "x-max-length": 500_000}
QUORUM: dict[str, HeaderValue] = {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT, **_QUEUE}
CLASSIC: dict[str, HeaderValue] = {"x-queue-type": "classic", **_QUEUE}


class Reader(Protocol):
    """Who reads a shelf."""

    def entry(self, position: int, message: Envelope) -> None:
        """What stands at a position; they come in order, or nearly so."""
        ...

    def mark(self) -> None:
        """It is time to publish a mark: what comes before it was written before. A second one replaces the first."""
        ...

    def gone(self, error: BrokerError) -> None:
        """The shelf was taken away."""
        ...


class Shelf(Protocol):
    """One control log at the broker. Everything belongs to the session's thread."""

    follows: bool
    """Whether it delivers what is written after it was read, and keeps what says nothing any more until it is full."""

    def open(self) -> None:
        """Make it where there is none, and have it read.

        Raises:
            ChannelClosed: it cannot be.
        """
        ...

    def finish(self, useless: Sequence[int]) -> None:
        """All was read; these positions say nothing any more."""
        ...

    def publish(self, message: Envelope) -> None:
        """Write an entry or a mark."""
        ...

    def turn(self, now: float) -> float:
        """Do what is due; the monotonic instant of the next thing."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class StreamShelf(QuietSink):
    """A stream. It drops what is old, not what is useless: what still holds is written anew before that."""

    follows = True

    def __init__(self, connection: Connection, exchange: str, reader: Reader) -> None:
        self._connection = connection
        self._name = f"{exchange}.log"
        self._reader = reader
        self._unsettled: int | None = None
        """The tag of the last record that is not acknowledged."""
        self._channel: Channel | None = None

    def open(self) -> None:
        declare(self._connection, self._name, STREAM)
        channel = self._connection.channel(self, confirms=False)
        channel.qos(PREFETCH)
        channel.consume(self._name, no_ack=False, exclusive=False, arguments={"x-stream-offset": "first"})
        self._channel = channel
        self._reader.mark()

    def finish(self, useless: Sequence[int]) -> None:
        """Nothing can be taken out of a stream."""

    def publish(self, message: Envelope) -> None:
        if self._channel is not None:
            self._channel.publish(message, "", self._name, mandatory=False)

    def turn(self, now: float) -> float:
        if self._unsettled is not None and self._channel is not None:
            # At once, because RabbitMQ closes the channel on which a delivery stays unacknowledged for long.
            self._channel.settle(self._unsettled, Verdict.ACK, multiple=True)
            self._unsettled = None
        return NEVER

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def delivered(self, delivery: Delivery) -> None:
        self._unsettled = delivery.tag
        position = delivery.envelope.headers.get("x-stream-offset")
        self._reader.entry(position if isinstance(position, int) else 0, delivery.envelope)

    def cancelled(self, consumer_tag: str) -> None:
        self._channel = None
        self._reader.gone(ChannelClosed("the log was deleted"))

    def closed(self, error: BrokerError) -> None:
        self._channel = None
        self._reader.gone(error)


class QueueShelf(QuietSink):
    """A queue. Who reads holds all of it, takes out what is useless, and gives the rest back.

    One node reads at a time, the others are in line. A first mark sees to it that something is delivered when it is
    this node's turn; then a second one comes behind all that the nodes before have given back.
    """

    follows = False

    def __init__(
        self, connection: Connection, exchange: str, reader: Reader, arguments: dict[str, HeaderValue]
    ) -> None:
        self._connection = connection
        self._arguments = arguments
        self._name = f"{exchange}.log.queue"
        self._reader = reader
        self._reading: Channel | None = None
        self._writing: Channel | None = None
        self._its_turn = False
        self._is_read = False
        self._give_back_due = NEVER

    def open(self) -> None:
        declare(self._connection, self._name, self._arguments)
        self._writing = self._connection.channel(_Writes(self), confirms=False)
        channel = self._connection.channel(self, confirms=False)
        channel.consume(self._name, no_ack=False, exclusive=False, arguments={})
        self._reading = channel
        self._reader.mark()

    def finish(self, useless: Sequence[int]) -> None:
        assert self._reading is not None, "its mark came on it"
        for tag in useless:
            self._reading.settle(tag, Verdict.ACK)
        self._is_read = True
        if len(useless) <= FEW:
            self._give_back()

    def publish(self, message: Envelope) -> None:
        if self._writing is not None:
            self._writing.publish(message, "", self._name, mandatory=False)

    def turn(self, now: float) -> float:
        if self._reading is None or not self._is_read:
            return NEVER
        self._give_back_due = min(self._give_back_due, now + HOLD)
        if self._give_back_due > now:
            return self._give_back_due
        self._give_back()
        return NEVER

    def close(self) -> None:
        self._give_back()
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def _give_back(self) -> None:
        channel, self._reading = self._reading, None
        if channel is not None:
            channel.close()

    def delivered(self, delivery: Delivery) -> None:
        if self._is_read:
            return  # it goes back
        if not self._its_turn:
            self._its_turn = True
            self._reader.mark()
        self._reader.entry(delivery.tag, delivery.envelope)

    def cancelled(self, consumer_tag: str) -> None:
        self.closed(ChannelClosed("the log was deleted"))

    def closed(self, error: BrokerError) -> None:
        self._reading = self._writing = None
        self._reader.gone(error)


class _Writes(QuietSink):
    """Listens to the channel on which a queue is written."""

    def __init__(self, shelf: QueueShelf) -> None:
        self._shelf = shelf

    def closed(self, error: BrokerError) -> None:
        self._shelf.closed(error)


Make: TypeAlias = Callable[[Connection, str, Reader], Shelf]

SHELVES: tuple[Make, ...] = (
    StreamShelf,
    functools.partial(QueueShelf, arguments=QUORUM),
    functools.partial(QueueShelf, arguments=CLASSIC),
)
"""The best one first."""


def declare(connection: Connection, name: str, arguments: dict[str, HeaderValue]) -> None:
    """See that it is there. One that stands already is taken as it is: an older or a newer release has made it.

    Raises:
        ChannelClosed: it is not, and cannot be made.
    """
    try:
        channel = connection.channel(QuietSink(), confirms=False)
        channel.declare(DeclareQueue(name=name, passive=True))
    except NotFound:
        channel = connection.channel(QuietSink(), confirms=False)
        channel.declare(DeclareQueue(name=name, arguments=arguments))
    channel.close()
