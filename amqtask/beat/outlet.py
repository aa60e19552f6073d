"""Outlet: publishes ticks on the connection that holds the leadership, and on no other.

That is the fence. A beat leads for as long as the broker holds its connection; when the broker gives the lead to
another, it has closed that connection first, and what a frozen beat writes into it later reaches nobody. So, unlike
`Publisher`, nothing is sent again when the connection is lost: the next leader does it.
"""

import collections
from collections.abc import Callable
from dataclasses import dataclass

from amqtask.core.declare import DeclareOp, Recipe
from amqtask.core.message import Envelope
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed, ConnectionLost, PublishNacked, Unroutable
from amqtask.log import event, get_logger
from amqtask.ticket import Ticket

logger = get_logger("beat")


@dataclass(slots=True)
class _Sent:
    """A message that waits for its confirm."""

    ticket: Ticket
    done: Callable[[Exception | None], None]
    error: Exception | None = None


class Outlet(QuietSink):
    """One channel with confirms. Belongs to the session's thread."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._declared: set[str] = set()
        self._outstanding: collections.OrderedDict[int, _Sent] = collections.OrderedDict()

    @property
    def waiting(self) -> int:
        """How many messages wait for their confirm."""
        return len(self._outstanding)

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now, or None."""
        return None if self._connection is None else self._connection.blocked

    def open(self, connection: Connection) -> None:
        """Publish on this connection from now on."""
        self._connection = connection
        self._channel = connection.channel(self, confirms=True)

    def close(self) -> None:
        """The connection is gone, and what waits on it is the next leader's."""
        self._connection = self._channel = None
        self._declared.clear()
        self._outstanding.clear()

    def send(self, ticket: Ticket, done: Callable[[Exception | None], None]) -> None:
        """Publish; `done` hears what became of it: None, the broker has it.

        `done` is not called any more once the connection is lost.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionLost("beat does not lead")
        if self._channel is None:
            self._channel = connection.channel(self, confirms=True)
        try:
            for recipe in ticket.needs:
                self._satisfy(connection, recipe)
        except ChannelClosed as error:
            done(error)
            return
        number = self._channel.publish(ticket.envelope, ticket.exchange, ticket.routing_key, mandatory=ticket.mandatory)
        self._outstanding[number] = _Sent(ticket, done)

    # The channel's calls

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        numbers = [number for number in self._outstanding if number <= sequence] if multiple else [sequence]
        for number in numbers:
            sent = self._outstanding.pop(number, None)
            if sent is None:
                continue
            if sent.error is None and not ok:
                sent.error = PublishNacked()
            sent.done(sent.error)

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        place = f"exchange {exchange!r}" if exchange else "the default exchange"
        error = Unroutable(f"no queue takes a message for {place} with routing key {routing_key!r} ({code} {text})")
        for sent in self._outstanding.values():
            if sent.ticket.envelope.correlation_id == envelope.correlation_id and sent.error is None:
                sent.error = error
                return

    def closed(self, error: BrokerError) -> None:
        # Over one of them, an exchange that does not exist for example; which of the others were taken is not known.
        # Sent again, each is another copy of the same tick, of which workers run one.
        logger.warning("the broker closed beat's channel: %s", error, extra=event("channel-closed"))
        self._channel = None
        lost = list(self._outstanding.values())
        self._outstanding.clear()
        for sent in lost:
            sent.done(error)

    def _satisfy(self, connection: Connection, recipe: Recipe) -> None:
        if recipe.name in self._declared:
            return
        declare(connection, recipe.ops)
        self._declared.add(recipe.name)


def declare(connection: Connection, ops: "tuple[DeclareOp, ...] | list[DeclareOp]") -> None:
    """Do this on a channel of its own: the broker closes the one on which it refuses something."""
    if ops:
        channel = connection.channel(QuietSink(), confirms=False)
        for op in ops:
            channel.declare(op)
        channel.close()
