"""Agent: the thread of a supervisor that talks to the broker: remote control, its log, and signs of life."""

from collections.abc import Callable, Sequence

from amqtask.clock import SystemClock
from amqtask.control.commands import Arguments
from amqtask.control.log import INTERNAL_ERROR, ControlLog
from amqtask.control.protocol import Command
from amqtask.control.server import Server
from amqtask.control.signing import Guard
from amqtask.core.declare import BindQueue, DeclareExchange, DeclareQueue
from amqtask.core.sharing import Claim
from amqtask.core.standing import Order
from amqtask.drivers import load_driver
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed, NotFound
from amqtask.events.pulse import Pulse
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Participant, Session, SessionOptions
from amqtask.worker.briefing import Briefing
from amqtask.worker.plan import Plan
from amqtask.worker.shares import Shares
from amqtask.worker.steward import Listener

logger = get_logger("control")

READ_WITHIN = 5.0
"""Seconds that the control log may take to be read; then the processes start without it."""


class NodeAgent:
    """One session with what a node's control needs. See `steward.Agent`."""

    def __init__(self, plan: Plan, briefing: Briefing, listener: Listener) -> None:
        clock = SystemClock()
        self._clock = clock
        self._briefing = briefing
        self._listener = listener
        self._connection: Connection | None = None
        self._restored = False
        self._give_up = clock.monotonic() + READ_WITHIN
        self._server = Server(
            node=plan.node,
            exchange=briefing.control_exchange,
            handle=self._handle,
            guard=Guard(briefing.secret),
            clock=clock,
        )
        self._log = ControlLog(
            node=plan.node,
            exchange=briefing.control_exchange,
            secret=briefing.secret,
            clock=clock,
            restored=self._restore,
        )
        self._pulse = Pulse(
            node=plan.node,
            exchange=briefing.events_exchange,
            every=briefing.heartbeat,
            clock=clock,
            version=briefing.version,
            load=listener.load,
            on=briefing.events,
        )
        self._shares = Shares(clock, listener.granted)
        options = SessionOptions(
            driver=load_driver(briefing.driver),
            addresses=briefing.addresses,
            shuffle=briefing.shuffle,
            connect_timeout=briefing.connect_timeout,
            backoff=briefing.backoff,
            clock=clock,
        )
        controlled: list[Participant] = [self._log, self._server] if briefing.control else []
        participants: list[Participant] = [self, *controlled, self._pulse, self._shares]
        self._session = Session(options, participants, name="agent", on_failure=self._failed)

    # The steward's words

    def start(self) -> None:
        """Connect."""
        self._session.start()

    def clock(self) -> int:
        """The Lamport clock."""
        return self._server.time

    def consume(self, arguments: Arguments, then: Callable[[str | None], None]) -> None:
        """See that a queue is there, and make it where that is wanted."""
        self._session.call_soon(lambda: then(self._look_for(arguments)))

    def keep(self, changes: Sequence[tuple[str, Order | None]], *, only_here: bool) -> None:
        """Write orders to the control log."""
        self._session.call_soon(lambda: self._log.write(changes, only_here=only_here))

    def events(self, on: bool) -> None:
        """Send signs of life, or none."""
        self._session.call_soon(lambda: self._pulse.switch(on))

    def heartbeat(self) -> None:
        """Send one now."""
        self._session.call_soon(self._pulse.beat)

    def claim(self, task: str, claim: Claim) -> None:
        """Tell the keeper of a cluster's rate limit what is wanted here."""
        self._session.call_soon(lambda: self._shares.claim(task, claim))

    def stop(self) -> None:
        """Say that the node goes, and close the connection."""
        self._session.call_soon(self._log.flush)
        self._session.call_soon(self._pulse.farewell)
        self._session.stop(5.0)

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        if not self._briefing.control:
            self._restore([])

    def lost(self, error: BrokerError) -> None:
        self._connection = None

    def turn(self, now: float) -> float:
        if self._restored:
            return NEVER
        if now < self._give_up:
            return self._give_up
        logger.warning("the control log was not read in time; going on without it", extra=event("log-unread"))
        self._restore([])
        return NEVER

    def _failed(self, error: BrokerError, tries: int) -> None:
        if error.code == INTERNAL_ERROR:
            return  # the broker has no queues of that type, and the control log tries another
        if not self._restored:
            # The processes say best why the broker cannot be reached.
            self._restore([])
        elif tries == 1 or isinstance(error, ChannelClosed):
            logger.warning("remote control: %s; trying again", error, extra=event("agent-failed"))

    def _restore(self, kept: Sequence[tuple[str, Order | None]]) -> None:
        self._restored = True
        self._listener.restored(kept)

    def _handle(self, command: Command, answer: Callable[[object], None]) -> None:
        self._listener.command(command, lambda value: self._session.call_soon(lambda: answer(value)))

    def _look_for(self, arguments: Arguments) -> str | None:
        """What keeps a queue from being consumed, or None."""
        queue = str(arguments["queue"])
        connection = self._connection
        if connection is None:
            return "no connection to the broker now"
        try:
            channel = connection.channel(QuietSink(), confirms=False)
            channel.declare(DeclareQueue(name=queue, passive=True))
            channel.close()
        except NotFound:
            exchange, key = arguments.get("exchange"), arguments.get("routing_key")
            if not self._briefing.create_queues and exchange is None and key is None:
                return f"there is no queue {queue!r}; declare it, or give an exchange or a routing key to have it made"
            kind = str(arguments["exchange_type"])
            return self._make(connection, queue, str(exchange or ""), str(key or queue), kind)
        except ChannelClosed as error:
            return str(error)
        return None

    def _make(self, connection: Connection, queue: str, exchange: str, key: str, kind: str) -> str | None:
        try:
            channel = connection.channel(QuietSink(), confirms=False)
            channel.declare(DeclareQueue(name=queue, arguments={"x-queue-type": "quorum"}))
            if exchange:
                channel.declare(DeclareExchange(name=exchange, type=kind))
                channel.declare(BindQueue(queue=queue, exchange=exchange, routing_key=key))
            channel.close()
        except ChannelClosed as error:
            return str(error)
        return None
