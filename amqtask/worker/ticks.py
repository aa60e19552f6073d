"""Ticks: whether a tick of beat may run here, decided alike by all workers of a virtual host.

Before a worker runs a tick it appends a claim to a stream, and reads the stream up to it; the first claim in the order
of the stream wins, and a message that lost is acknowledged unexecuted (`core/tick.py` has the rule). Only messages with
beat's header come here. Nothing is opened before the first of them; each costs one small message to the stream, and
half a millisecond.

Where the stream cannot be had, and where it does not answer, the tick runs: a worker that waited for it would stop
everything for fear of something rare.
"""

import collections
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from amqtask.clock import Clock
from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.core.tick import CLAIMS, WINDOW, Claims
from amqtask.core.topology import DEFAULT_EXCHANGE
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed
from amqtask.log import event, get_logger
from amqtask.session import NEVER
from amqtask.ticket import Ticket

logger = get_logger("worker")

PATIENCE = 10.0
"""Seconds after which a tick runs although its claim was not answered."""
RETRY_DELAY = 0.2
"""Seconds until the stream is tried again: one that is just being made has no replica yet, and RabbitMQ says 406."""
INSISTENCE = 5.0
"""Seconds for which it is tried while ticks wait."""
PAUSE = 30.0
"""Seconds for which it is let be after that."""
PREFETCH = 2000
STREAM_SIZE = 64 * 2**20
SEGMENT_SIZE = 2**20

Claim = tuple[str, str, str]
"""Tick, queue, copy."""


class Ticks(QuietSink):
    """A participant of the worker's session; everything happens on its thread."""

    def __init__(self, clock: Clock, wake: Callable[[], None], publish: Callable[[Ticket], None]) -> None:
        """`publish` sends over another connection than this one, which a broker in need must not block."""
        self._clock = clock
        self._wake = wake
        self._publish = publish
        self._claims = Claims()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._asked: collections.deque[Claim] = collections.deque()
        self._waiting: dict[Claim, tuple[float, list[Callable[[bool], None]]]] = {}
        self._unsettled: int | None = None
        """The tag of the last record that is not acknowledged."""
        self._retry_at = 0.0
        self._refused_since = 0.0

    def claim(self, tick: str, queue: str, copy: str, then: Callable[[bool], None]) -> None:
        """Ask whether this copy of a tick may run; `then` is called with the answer, unless the connection is lost."""
        claim = (tick, queue, copy)
        waiting = self._waiting.get(claim)
        if waiting is not None:
            waiting[1].append(then)
            return
        self._waiting[claim] = (self._clock.monotonic() + PATIENCE, [then])
        self._asked.append(claim)
        self._wake()

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._forget()
        # The deliveries that wait are void, too.
        self._waiting.clear()
        self._asked.clear()

    def turn(self, now: float) -> float:
        if self._unsettled is not None and self._channel is not None:
            # At once, because RabbitMQ closes the channel on which a delivery stays unacknowledged for long.
            self._channel.settle(self._unsettled, Verdict.ACK, multiple=True)
            self._unsettled = None
        if not self._waiting:
            return NEVER
        if self._asked:
            channel = self._channel or self._open(now)
            if channel is None:
                return self._retry_at if self._waiting else NEVER
            while self._asked:
                body = json.dumps(self._asked.popleft()).encode()
                deadline = now + PATIENCE
                self._publish(Ticket(Envelope(body=body), DEFAULT_EXCHANGE, CLAIMS, deadline=deadline, mandatory=False))
        while self._waiting:
            claim, (deadline, _) = next(iter(self._waiting.items()))
            if deadline > now:
                return deadline
            logger.warning("no answer to the claim of tick %s; it runs", claim[0], extra=event("tick-unanswered"))
            self._answer(claim, True)
        return NEVER

    # The channel's calls

    def delivered(self, delivery: Delivery) -> None:
        claim = _read(delivery.envelope.body)
        if claim is not None:
            self._answer(claim, self._claims.record(*claim))
        self._unsettled = delivery.tag

    def cancelled(self, consumer_tag: str) -> None:
        logger.warning("the stream of claims was deleted", extra=event("tick-claims-gone"))
        self._forget()
        self._answer_all()

    def closed(self, error: BrokerError) -> None:
        self._refused(error, self._clock.monotonic())
        self._answer_all()

    def _open(self, now: float) -> Channel | None:
        if self._connection is None:
            return None
        if now < self._retry_at:
            if not self._refused_since:
                self._answer_all()
            return None
        try:
            channel = self._connection.channel(self, confirms=False)
            channel.declare(
                DeclareQueue(
                    name=CLAIMS,
                    arguments={
                        "x-queue-type": "stream",
                        "x-max-age": "1h",
                        "x-max-length-bytes": STREAM_SIZE,
                        "x-stream-max-segment-size-bytes": SEGMENT_SIZE,
                    },
                )
            )
            channel.qos(PREFETCH)
            since = datetime.fromtimestamp(self._clock.time(), UTC) - timedelta(seconds=WINDOW)
            channel.consume(CLAIMS, no_ack=False, exclusive=False, arguments={"x-stream-offset": since})
        except ChannelClosed as error:
            self._refused(error, now)
            return None
        self._channel = channel
        self._refused_since = 0.0
        return channel

    def _refused(self, error: BrokerError, now: float) -> None:
        self._forget()
        self._refused_since = self._refused_since or now
        self._retry_at = now + RETRY_DELAY
        if now - self._refused_since >= INSISTENCE:
            self._refused_since = 0.0
            self._retry_at = now + PAUSE
            logger.warning(
                "ticks cannot be claimed, so one that beat sends twice runs twice: %s",
                error,
                extra=event("tick-claims-refused"),
            )
            self._answer_all()

    def _forget(self) -> None:
        self._channel = None
        self._claims.clear()
        self._unsettled = None

    def _answer_all(self) -> None:
        self._asked.clear()
        for claim in list(self._waiting):
            self._answer(claim, True)

    def _answer(self, claim: Claim, may_run: bool) -> None:
        for then in self._waiting.pop(claim, (0.0, ()))[1]:
            then(may_run)


def _read(body: bytes) -> Claim | None:
    """The claim of a record; None for somebody's stray message."""
    try:
        form = json.loads(body)
    except ValueError:
        return None
    match form:
        case [str() as tick, str() as queue, str() as copy]:
            return tick, queue, copy
    return None
