"""The control log: orders that outlive their nodes, in a stream; the last one of a key counts.

A node reads it whenever it connects: it publishes a mark and reads up to it, so that it knows that it has seen all.
Every node hears a broadcast, and one of them is to write it: each waits for a moment of its own length, and leaves it
when another was quicker. Where the broker has no streams nothing lasts, and a warning says so.
"""

import json
import random
import uuid
from collections.abc import Callable, Sequence
from typing import TypeAlias

from amqtask.clock import Clock
from amqtask.control.signing import Refused, sign, verify
from amqtask.core.declare import DeclareOp, DeclareQueue
from amqtask.core.message import Delivery, Envelope, HeaderValue, Verdict
from amqtask.core.standing import Order
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("control")

PREFETCH = 500
LONGEST_WAIT = 0.3
"""Seconds within which one of the nodes has written an order."""
SIZE = 32 * 2**20
SEGMENT = 2**20

Change: TypeAlias = tuple[str, Order | None]


def log_name(exchange: str) -> str:
    """The stream beside a control exchange."""
    return f"{exchange}.log"


def declare_log(exchange: str) -> DeclareOp:
    """The stream."""
    arguments: dict[str, HeaderValue] = {
        "x-queue-type": "stream",
        "x-max-length-bytes": SIZE,
        "x-stream-max-segment-size-bytes": SEGMENT,
    }
    return DeclareQueue(name=log_name(exchange), arguments=arguments)


class ControlLog(QuietSink):
    """Reads and writes the log of one control exchange. A participant; everything belongs to the session's thread."""

    def __init__(
        self,
        *,
        node: str,
        exchange: str,
        secret: str | None,
        clock: Clock,
        restored: Callable[[Sequence[Change]], None],
    ) -> None:
        """`restored` gets what the log says, each time that it was read, in the order in which it was written."""
        self._node = node
        self._exchange = exchange
        self._secret = secret
        self._clock = clock
        self._restored = restored
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._mark = ""
        self._read: dict[str, Order | None] = {}
        self._pending: dict[str, tuple[float, Order | None, bool]] = {}
        self._unsettled: int | None = None
        """The tag of the last record that is not acknowledged."""

    def write(self, changes: Sequence[Change], *, only_here: bool) -> None:
        """Have orders kept: for all nodes, or for this one only."""
        now = self._clock.monotonic()
        for key, order in changes:
            wait = 0.0 if only_here else random.random() * LONGEST_WAIT
            self._pending[key] = (now + wait, order, only_here)

    def flush(self) -> None:
        """Write what waits."""
        for key in list(self._pending):
            self._write(key)

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._read = {}
        self._mark = uuid.uuid4().hex
        self._unsettled = None
        try:
            channel = connection.channel(self, confirms=False)
            channel.declare(declare_log(self._exchange))
            channel.qos(PREFETCH)
            channel.consume(
                log_name(self._exchange), no_ack=False, exclusive=False, arguments={"x-stream-offset": "first"}
            )
        except ChannelClosed as error:
            self._without(error)
            return
        self._channel = channel
        self._publish({"mark": self._mark})

    def lost(self, error: BrokerError) -> None:
        self._connection = self._channel = None

    def turn(self, now: float) -> float:
        if self._unsettled is not None and self._channel is not None:
            # At once, because RabbitMQ closes the channel on which a delivery stays unacknowledged for long.
            self._channel.settle(self._unsettled, Verdict.ACK, multiple=True)
            self._unsettled = None
        due = NEVER
        for key, (when, _, _) in list(self._pending.items()):
            if self._channel is None:
                break
            if when <= now:
                self._write(key)
            else:
                due = min(due, when)
        return due

    # The channel's calls

    def delivered(self, delivery: Delivery) -> None:
        self._unsettled = delivery.tag
        try:
            self._take(delivery.envelope)
        except (ValueError, Refused) as error:
            logger.warning("an entry of the control log is left out: %s", error, extra=event("log-entry-refused"))

    def cancelled(self, consumer_tag: str) -> None:
        self._without(ChannelClosed("the log was deleted"))

    def closed(self, error: BrokerError) -> None:
        self._without(error)

    def _without(self, error: BrokerError) -> None:
        logger.warning("no control log (%s): what is set is forgotten with its nodes", error, extra=event("no-log"))
        self._channel = None
        self._pending.clear()
        self._finish()

    def _finish(self) -> None:
        if self._mark:
            self._mark = ""
            self._restored(list(self._read.items()))
            self._read = {}

    def _take(self, message: Envelope) -> None:
        if self._secret is not None:
            verify(self._secret, message.body, message.headers)
        entry = json.loads(message.body)
        if not isinstance(entry, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - it is data
        if "mark" in entry:
            if entry["mark"] == self._mark:
                self._finish()
            return
        key, form, node = str(entry["key"]), entry.get("order"), entry.get("node")
        order = None if form is None else Order.from_json(form)
        waiting = self._pending.get(key)
        if waiting is not None and not waiting[2] and _same(waiting[1], order):
            del self._pending[key]  # another node was quicker
        if node in (None, self._node) and self._mark:
            self._read.pop(key, None)
            self._read[key] = order

    def _write(self, key: str) -> None:
        if self._channel is None:
            return
        _, order, only_here = self._pending.pop(key)
        form = None if order is None else order.to_json()
        self._publish({"key": key, "order": form, "node": self._node if only_here else None})

    def _publish(self, entry: dict[str, object]) -> None:
        assert self._channel is not None, "asked before"
        body = json.dumps(entry).encode()
        headers = {}
        if self._secret is not None:
            headers = sign(self._secret, body, now=self._clock.time(), nonce=uuid.uuid4().hex)
        message = Envelope(body=body, headers=headers, content_type="application/json")
        self._channel.publish(message, "", log_name(self._exchange), mandatory=False)


def _same(one: Order | None, other: Order | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.method, dict(one.arguments)) == (other.method, dict(other.arguments))
