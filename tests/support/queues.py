"""A broker's queues as a test looks at them: over a connection of its own."""

from types import TracebackType
from typing import Self

from amqtask.core.address import parse_url
from amqtask.core.declare import DeclareOp, DeclareQueue, QueueInfo
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.amqp import AmqpDriver
from amqtask.drivers.base import Channel
from amqtask.errors import NotFound
from tests.support.eventually import eventually
from tests.support.recorder import Recorder

MOST = 2000
"""Quorum queues give no consumer more at a time."""


class Queues:
    """Looks into queues, takes messages out of them and puts some in; a context manager."""

    def __init__(self, url: str) -> None:
        self._connection = AmqpDriver().connect(parse_url(url), 30.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def do(self, *ops: DeclareOp) -> QueueInfo | None:
        """Ask something of the broker; its last answer."""
        channel = self._connection.channel(Recorder(), confirms=False)
        info = None
        for op in ops:
            info = channel.declare(op)
        channel.close()
        return info

    def depth(self, queue: str) -> int | None:
        """How many messages are ready there; None where there is no such queue."""
        try:
            info = self.do(DeclareQueue(name=queue, passive=True))
        except NotFound:
            return None
        assert info is not None, "a declare is answered"
        return info.messages

    def take(self, queue: str, count: int, deadline: float = 60.0) -> list[Delivery]:
        """Take this many messages out for good."""
        taken: list[Delivery] = []
        while len(taken) < count:
            wanted = min(count - len(taken), MOST)
            sink = Recorder()
            channel, tag = self._consume(queue, sink, wanted)
            self._until(sink, wanted, deadline, queue)
            for delivery in sink.deliveries[:wanted]:
                channel.settle(delivery.tag, Verdict.ACK)
                taken.append(delivery)
            # When a channel is closed a quorum queue of RabbitMQ 4 forgets acknowledgements that came faster than it
            # wrote them; cancelling sees them through.
            channel.cancel(tag)
            channel.close()
        return taken

    def look(self, queue: str, count: int, deadline: float = 60.0) -> list[Delivery]:
        """See this many messages and leave them there."""
        sink = Recorder()
        channel, _ = self._consume(queue, sink, count)
        self._until(sink, count, deadline, queue)
        channel.settle(0, Verdict.HAND_BACK, multiple=True)
        channel.close()
        return sink.deliveries[:count]

    def put(self, envelope: Envelope, queue: str, exchange: str = "") -> None:
        """Publish a message and see it confirmed."""
        sink = Recorder()
        channel = self._connection.channel(sink, confirms=True)
        channel.publish(envelope, exchange, queue, mandatory=True)
        eventually(lambda: self._polled() or bool(sink.confirms), 30.0, "the message was not confirmed", 0.0)
        assert not sink.returns, f"no queue took it: {sink.returns}"
        channel.close()

    def _consume(self, queue: str, sink: Recorder, count: int) -> tuple[Channel, str]:
        channel = self._connection.channel(sink, confirms=False)
        channel.qos(min(count, MOST))
        return channel, channel.consume(queue, no_ack=False, exclusive=False, arguments={})

    def _until(self, sink: Recorder, count: int, deadline: float, queue: str) -> None:
        eventually(
            lambda: self._polled() or len(sink.deliveries) >= count,
            deadline,
            lambda: f"{len(sink.deliveries)} of {count} messages came from {queue}",
            0.0,
        )

    def _polled(self) -> bool:
        self._connection.poll(0.05)
        return False
