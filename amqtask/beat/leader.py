"""Leadership: RabbitMQ decides which beat leads, without anybody asking it again and again.

All beats of an app consume one queue with a single active consumer. In it lies a *token*; the broker gives it to the
active one, which leads for as long as it holds the token unacknowledged. When its connection ends (it died, or the
broker heard nothing of it for two heartbeats), the token goes back and the next consumer has it at once.

Each beat brings a token when it comes; the holder acknowledges all but the newest. It renews its own from time to
time, because RabbitMQ closes the channel on which a delivery stays unacknowledged for long (`consumer_timeout`, half an
hour by default). The same queue carries *nudges*: somebody edited the entries.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from amqtask.beat.outlet import declare
from amqtask.core.declare import DeclareOp, DeclareQueue
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ConnectionLost
from amqtask.session import NEVER, SessionOptions

TOKEN = "aqt.beat.token"
NUDGE = "aqt.beat.nudge"

RENEWAL = 300.0
"""Seconds after which the holder renews the token."""
PREFETCH = 100
NUDGE_EXPIRES = "60000"


def leader_queue(name: str) -> DeclareQueue:
    """The queue of the beats of an app."""
    return DeclareQueue(
        name=f"aqt.beat.{name}",
        arguments={"x-queue-type": "quorum", "x-single-active-consumer": True},
    )


def with_heartbeat(options: SessionOptions, seconds: int) -> SessionOptions:
    """The same way to the broker with another heartbeat: what decides how soon a frozen leader is replaced."""
    return replace(options, addresses=[replace(address, heartbeat=seconds) for address in options.addresses])


class Leadership(QuietSink):
    """A participant of beat's session. Everything happens on the session's thread."""

    def __init__(
        self,
        queue: DeclareQueue,
        *,
        topology: Sequence[DeclareOp] = (),
        elected: Callable[[Connection], None],
        deposed: Callable[[], None],
        nudged: Callable[[], None],
        standing_by: Callable[[], None] = lambda: None,
    ) -> None:
        """`elected` hears of the token, `deposed` of the end of the connection in any case.

        `topology` is declared on each connection; `standing_by` hears that the queue is consumed.
        """
        self._queue = queue
        self._topology = tuple(topology)
        self._elected = elected
        self._deposed = deposed
        self._nudged = nudged
        self._standing_by = standing_by
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._token: int | None = None
        self._renew_at = NEVER

    @property
    def leads(self) -> bool:
        """Whether the token is here."""
        return self._token is not None

    def opened(self, connection: Connection) -> None:
        declare(connection, list(self._topology))
        channel = connection.channel(self, confirms=False)
        channel.declare(self._queue)
        channel.qos(PREFETCH)
        channel.consume(self._queue.name, no_ack=False, exclusive=False, arguments={})
        self._connection, self._channel = connection, channel
        self._bring_token()
        self._standing_by()

    def lost(self, error: BrokerError) -> None:
        self._connection = self._channel = self._token = None
        self._renew_at = NEVER
        self._deposed()

    def turn(self, now: float) -> float:
        if self._token is None:
            return NEVER
        if self._renew_at == NEVER:
            self._renew_at = now + RENEWAL
        elif now >= self._renew_at:
            self._renew_at = now + RENEWAL
            self._bring_token()
        return self._renew_at

    def delivered(self, delivery: Delivery) -> None:
        assert self._channel is not None, "the channel that delivers"
        if delivery.envelope.type == TOKEN:
            self._take(self._channel, delivery.tag)
            return
        self._channel.settle(delivery.tag, Verdict.ACK)
        if delivery.envelope.type == NUDGE and self.leads:
            self._nudged()

    def cancelled(self, consumer_tag: str) -> None:
        raise ConnectionLost(f"the broker cancelled the consumer of {self._queue.name!r}: the queue was deleted")

    def _take(self, channel: Channel, tag: int) -> None:
        old, self._token = self._token, tag
        if old is not None:
            channel.settle(old, Verdict.ACK)
            return
        # Another in its place at once: this one has been delivered before, and RabbitMQ counts that, up to a limit.
        self._bring_token()
        assert self._connection is not None, "it delivers"
        self._elected(self._connection)

    def _bring_token(self) -> None:
        assert self._channel is not None, "it is open"
        token = Envelope(body=b"", type=TOKEN)
        self._channel.publish(token, "", self._queue.name, mandatory=False)


def nudge() -> Envelope:
    """Tells the leader, if there is one, that entries were edited."""
    return Envelope(body=b"", type=NUDGE, expiration=NUDGE_EXPIRES)
