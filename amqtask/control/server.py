"""The server: a node's own queue on the control exchange. A participant of the agent's session.

Commands are acknowledged when they are answered, and only so many are under way: a flood of them waits in the broker,
in a queue that drops what is too much or too old, and not in the node's memory.
"""

from collections.abc import Callable

from amqtask.clock import Clock
from amqtask.control.protocol import BadCommand, Command, exchanges, read_command, reply
from amqtask.control.signing import Guard, Refused
from amqtask.core.declare import BindQueue, DeclareQueue
from amqtask.core.message import Delivery, Verdict
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("control")

UNDER_WAY = 32
QUEUE_ARGUMENTS = {"x-message-ttl": 300_000, "x-max-length": 20_000}

Handle = Callable[[Command, Callable[[object], None]], None]


class Server(QuietSink):
    """Takes commands for one node. Everything but `answer` belongs to the session's thread."""

    def __init__(self, *, node: str, exchange: str, handle: Handle, guard: Guard, clock: Clock) -> None:
        """`handle` gets each command for this node, and what to call with the answer on the session's thread."""
        self._node = node
        self._exchange = exchange
        self._handle = handle
        self._guard = guard
        self._clock = clock
        self._channel: Channel | None = None
        self._replies: Channel | None = None
        self._connection: Connection | None = None
        self.time = 0
        """The Lamport clock of what is sent and received here."""
        self.received = 0

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._listen(connection)

    def lost(self, error: BrokerError) -> None:
        self._connection = self._channel = self._replies = None

    def turn(self, now: float) -> float:
        if self._channel is None and self._connection is not None:
            self._listen(self._connection)
        return NEVER

    # The channel's calls

    def delivered(self, delivery: Delivery) -> None:
        self.received += 1
        message = delivery.envelope
        clock = message.headers.get("clock")
        self.time = max(self.time, clock if isinstance(clock, int) else 0) + 1
        try:
            self._guard.check(message.body, message.headers, self._clock.time())
            command = read_command(message)
            wanted = command.is_for(self._node)
        except (BadCommand, Refused) as error:
            logger.warning("refused a command: %s", error, extra=event("command-refused"))
            self._settle(delivery)
            return
        if not wanted:
            self._settle(delivery)
            return

        def answer(value: object) -> None:
            self._answer(command, value)
            self._settle(delivery)

        self._handle(command, answer)

    def cancelled(self, consumer_tag: str) -> None:
        self._channel = None

    def closed(self, error: BrokerError) -> None:
        logger.warning("the channel of remote control was closed: %s", error, extra=event("control-closed"))
        self._channel = None

    def forget_replies(self) -> None:
        """The channel of answers was closed; the next answer opens another."""
        self._replies = None

    def _listen(self, connection: Connection) -> None:
        try:
            channel = connection.channel(self, confirms=False)
            for op in exchanges(self._exchange):
                channel.declare(op)
            # The server chooses the name: a named one would still be taken for a while after the connection was lost.
            info = channel.declare(
                DeclareQueue(name="", durable=False, exclusive=True, auto_delete=True, arguments=QUEUE_ARGUMENTS)
            )
            assert info is not None, "a queue was declared"
            channel.declare(BindQueue(queue=info.name, exchange=self._exchange))
            channel.qos(UNDER_WAY)
            channel.consume(info.name, no_ack=False, exclusive=True, arguments={})
        except ChannelClosed as error:
            raise ChannelClosed(
                f"remote control over {self._exchange!r} is refused: {error} (control.enabled: false goes without)",
                code=error.code,
                text=error.text,
            ) from error
        self._channel = channel

    def _settle(self, delivery: Delivery) -> None:
        channel = self._channel
        if channel is not None and channel.generation == delivery.generation:
            channel.settle(delivery.tag, Verdict.ACK)

    def _answer(self, command: Command, value: object) -> None:
        if command.reply_to is None or self._connection is None:
            return
        self.time += 1
        if self._replies is None:
            self._replies = self._connection.channel(_Replies(self), confirms=False)
        exchange, key = command.reply_to
        self._replies.publish(reply(self._node, value, command.ticket, self.time), exchange, key, mandatory=False)


class _Replies(QuietSink):
    """Listens to the channel of answers: it closes when a caller names an exchange that does not exist."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def closed(self, error: BrokerError) -> None:
        logger.warning("an answer could not be sent: %s", error, extra=event("answer-refused"))
        self._server.forget_replies()
