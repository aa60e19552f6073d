"""Publisher: sends envelopes and knows what became of each.

Any thread may publish. The session's thread writes, with a window of outstanding confirms; the caller waits for its
Ticket, or goes on and looks later. A message whose fate is unknown when the connection goes is sent again under the
same id until its deadline.
"""

import collections
import threading
from collections.abc import Callable, Sequence

from amqtask.clock import Clock
from amqtask.core.declare import DeclareOp
from amqtask.core.message import Envelope
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import (
    AuthenticationFailed,
    BrokerError,
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    NotFound,
    PermissionDenied,
    PublishNacked,
    PublishTimeout,
    Unroutable,
    VhostUnavailable,
)
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session, SessionOptions, explain
from amqtask.ticket import Ticket

logger = get_logger("publisher")

HOPELESS = (AuthenticationFailed, VhostUnavailable)
"""Errors of connecting that another try within a publish's deadline will not cure."""


class Publisher(QuietSink):
    """Publishes over one session. Thread-safe; a process that forks must make its own."""

    def __init__(
        self,
        options: SessionOptions,
        *,
        name: str = "publisher",
        window: int = 1000,
        topology: Sequence[DeclareOp] = (),
    ) -> None:
        """`window` bounds the messages written and not yet confirmed; `topology` is declared on each connection."""
        self._clock: Clock = options.clock
        self._window = window
        self._topology = tuple(topology)
        self._queue: collections.deque[Ticket] = collections.deque()
        self._outstanding: collections.OrderedDict[int, Ticket] = collections.OrderedDict()
        self._channel: Channel | None = None
        self._plain: Channel | None = None
        self._called = False
        self._connection: Connection | None = None
        self._blocked: str | None = None
        self._suspects = 0
        self._declared: set[str] = set()
        self._start_lock = threading.Lock()
        self._started = False
        self._closed = False
        self._session = Session(options, [self], name=name, on_failure=self._connect_failed)

    def send(self, ticket: Ticket) -> None:
        """Hand a ticket to the publisher's thread and go on."""
        if not self._started:
            self._start()
        self._queue.append(ticket)
        # Not "if the queue was empty": the thread may drain it between that look and the append, and then sleep.
        if not self._called:
            self._called = True
            self._session.wake()

    def publish(self, ticket: Ticket) -> None:
        """Send a message and wait until the broker has it.

        Raises:
            Unroutable, PublishNacked: the broker has it not, and says so.
            PublishTimeout: the deadline passed and the outcome is unknown.
            ConnectionFailed: the deadline passed and the message was never sent.
        """
        self.send(ticket)
        # The thread decides by the deadline; the slack is for a machine so busy that the thread itself is late.
        ticket.wait(max(0.0, ticket.deadline - self._clock.monotonic()) + 30.0)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` run on the publisher's thread."""
        if not self._started:
            self._start()
        self._session.call_soon(call)

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is under way, for at most `timeout` seconds; whether that came about."""
        if not self._started:
            return True
        idle = threading.Event()
        until = self._clock.monotonic() + timeout

        def look() -> None:
            if not self._queue and not self._outstanding:
                idle.set()

        while not idle.is_set():
            left = until - self._clock.monotonic()
            if left <= 0:
                return False
            self._session.call_soon(look)
            idle.wait(min(left, 0.01))
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Wait for what is under way, then close the connection. What is left after `timeout` fails."""
        self.flush(timeout)
        self._closed = True
        if self._started:
            self._session.stop(timeout)
        self._fail_all(ConnectionLost("the publisher was closed"))

    def _start(self) -> None:
        with self._start_lock:
            if not self._started:
                self._session.start()
                self._started = True

    # Session's thread from here on.

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._declared.clear()
        self._declare(connection, self._topology)
        self._channel = connection.channel(self, confirms=True)

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._blocked = None
        self._channel = None
        self._plain = None
        self._send_again()

    def turn(self, now: float) -> float:
        # Before the queue is looked at, so that who appends from here on calls again.
        self._called = False
        if self._channel is None and self._connection is not None:
            self._reopen(self._connection)
        channel = self._channel
        blocked = self._connection.blocked if self._connection is not None else None
        if blocked != self._blocked:
            self._tell_blocked(blocked)
        if channel is not None and self._queue and self._connection is not None and blocked is None:
            self._write(self._connection, channel)
        return self._expire(now)

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        outstanding = self._outstanding
        if not multiple:
            ticket = outstanding.pop(sequence, None)
            if ticket is not None:
                self._confirm(ticket, ok)
        else:
            for number in list(outstanding):
                if number > sequence:
                    break
                self._confirm(outstanding.pop(number), ok)

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        place = f"exchange {exchange!r}" if exchange else "the default exchange"
        error = Unroutable(f"no queue takes a message for {place} with routing key {routing_key!r} ({code} {text})")
        for ticket in self._outstanding.values():
            sent = ticket.envelope
            same = (sent.correlation_id, sent.message_id) == (envelope.correlation_id, envelope.message_id)
            if same and ticket.routing_key == routing_key and ticket.error is None:
                # The confirm that follows finds the error and keeps it.
                ticket.error = error
                return

    def closed(self, error: BrokerError) -> None:
        """The broker closed the channel over one of the outstanding messages; the others are sent again."""
        self._channel = None
        guilty = [number for number, ticket in self._outstanding.items() if _is_about(error, ticket)]
        if not guilty and self._suspects and self._outstanding:
            guilty = [next(iter(self._outstanding))]
        renewed = []
        for number in guilty:
            ticket = self._outstanding.pop(number)
            if self._renew(ticket):
                renewed.append(ticket)
            else:
                ticket.finish(error)
            self._suspects = max(0, self._suspects - 1)
        if not guilty:
            # Which message it was is not said: sent one at a time, it shows itself.
            self._suspects = len(self._outstanding)
        logger.debug("the publishing channel was closed: %s", error, extra=event("channel-closed"))
        self._send_again()
        self._queue.extendleft(reversed(renewed))

    def _declare(self, connection: Connection, ops: Sequence[DeclareOp]) -> None:
        if not ops:
            return
        channel = connection.channel(QuietSink(), confirms=False)
        for op in ops:
            channel.declare(op)
        channel.close()

    def _satisfy(self, connection: Connection, ticket: Ticket) -> bool:
        """Declare what a message needs; False, and the ticket failed, where the broker will not have it."""
        for recipe in ticket.needs:
            if recipe.name not in self._declared:
                try:
                    self._declare(connection, recipe.ops)
                except ChannelClosed as error:
                    text = f"{error}; {recipe.hint}" if recipe.hint else str(error)
                    ticket.finish(type(error)(text, code=error.code, text=error.text))
                    return False
                if not recipe.once:
                    self._declared.add(recipe.name)
        return True

    def _renew(self, ticket: Ticket) -> bool:
        """Have what a message needs declared once more: somebody deleted it since. False where that was done before."""
        if not ticket.needs or ticket.renewed:
            return False
        self._declared.difference_update(recipe.name for recipe in ticket.needs)
        ticket.renewed = True
        ticket.error = None
        return True

    def _reopen(self, connection: Connection) -> None:
        self._channel = connection.channel(self, confirms=True)

    def _write(self, connection: Connection, channel: Channel) -> None:
        queue, outstanding = self._queue, self._outstanding
        window = 1 if self._suspects else self._window
        while queue and len(outstanding) < window:
            # It leaves the queue when it is written: a connection that is lost in between must not take it along.
            ticket = queue[0]
            if ticket.done or (ticket.needs and not self._satisfy(connection, ticket)):
                queue.popleft()
                continue
            ticket.written = True
            if ticket.confirm:
                number = channel.publish(
                    ticket.envelope, ticket.exchange, ticket.routing_key, mandatory=ticket.mandatory
                )
                outstanding[number] = ticket
            else:
                self._write_unconfirmed(connection, ticket)
            queue.popleft()

    def _write_unconfirmed(self, connection: Connection, ticket: Ticket) -> None:
        if self._plain is None:
            self._plain = connection.channel(_Unconfirmed(self), confirms=False)
        self._plain.publish(ticket.envelope, ticket.exchange, ticket.routing_key, mandatory=False)
        ticket.finish(None)

    def forget_plain(self) -> None:
        """The channel for unconfirmed messages was closed; the next one opens another."""
        self._plain = None

    def _confirm(self, ticket: Ticket, ok: bool) -> None:
        if self._suspects:
            self._suspects -= 1
        if isinstance(ticket.error, Unroutable) and self._renew(ticket):
            self._queue.appendleft(ticket)
            return
        if ticket.error is None and not ok:
            ticket.finish(
                PublishNacked(
                    f"a queue behind exchange {ticket.exchange!r}, routing key {ticket.routing_key!r}, refused the"
                    " message: it is full, or the broker failed to keep it"
                )
            )
        else:
            ticket.finish(ticket.error)

    def _send_again(self) -> None:
        again = list(self._outstanding.values())
        self._outstanding.clear()
        for ticket in reversed(again):
            ticket.error = None
            self._queue.appendleft(ticket)

    def _expire(self, now: float) -> float:
        """Fail what is past its deadline; when the next one will be."""
        next_due = NEVER
        late: list[Ticket] = []
        for ticket in self._queue:
            if ticket.deadline <= now:
                late.append(ticket)
            else:
                next_due = min(next_due, ticket.deadline)
                break  # deadlines of one publisher grow, but for calls with their own: those are seen on their turn
        for ticket in late:
            ticket.finish(self._too_late(ticket))
        while self._queue and self._queue[0].done:
            self._queue.popleft()
        while self._outstanding:
            number, ticket = next(iter(self._outstanding.items()))
            if ticket.deadline > now:
                next_due = min(next_due, ticket.deadline)
                break
            del self._outstanding[number]
            ticket.finish(self._too_late(ticket))
        return next_due

    def _tell_blocked(self, reason: str | None) -> None:
        self._blocked = reason
        if reason is None:
            logger.info("the broker takes messages again", extra=event("unblocked"))
            return
        logger.warning(
            "the broker takes no messages now: %s; %d wait here until their publishing times out",
            reason,
            len(self._queue) + len(self._outstanding),
            extra=event("blocked", reason=reason),
        )

    def _too_late(self, ticket: Ticket) -> Exception:
        if self._connection is not None and self._connection.blocked is not None:
            return PublishTimeout(f"the broker takes no messages now ({self._connection.blocked})")
        if ticket.written:
            return PublishTimeout(
                "the broker did not confirm the message in time; whether it was kept is not known"
                + (f" ({self._session.failure})" if self._session.failure else "")
            )
        failure = self._session.failure
        if failure is None:
            return PublishTimeout("the message could not be sent in time")
        kind = type(failure) if isinstance(failure, ConnectionFailed) else ConnectionFailed
        return kind(explain(failure), code=failure.code, text=failure.text)

    def _connect_failed(self, error: BrokerError, failures: int) -> None:
        logger.warning("%s", explain(error), extra=event("connect-failed", tries=failures))
        if isinstance(error, (*HOPELESS, ChannelClosed)):
            # Wrong password, missing vhost, a topology that does not fit: waiting cures none of them.
            self._fail_all(error)

    def _fail_all(self, error: Exception) -> None:
        self._send_again()
        while self._queue:
            self._queue.popleft().finish(error)


class _Unconfirmed(QuietSink):
    """Listens to the channel of messages that nobody waits for: its end must not be taken for the confirm channel's."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def closed(self, error: BrokerError) -> None:
        logger.warning("an unconfirmed message was refused: %s", error, extra=event("unconfirmed-refused"))
        self._publisher.forget_plain()


def _is_about(error: BrokerError, ticket: Ticket) -> bool:
    """Whether the broker's text names the exchange of this message: "no exchange 'x' in vhost '/'"."""
    return isinstance(error, NotFound | PermissionDenied) and f"'{ticket.exchange}'" in error.text
