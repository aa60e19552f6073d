"""Broker: the whole of it without a socket, a thread or a clock. Time enters by `advance`.

broker = Broker(now=0.0)
session = broker.connect(sink)
channel = session.open_channel(1, channel_sink)
channel.publish("", "hello", scan(EMPTY), b"body")
broker.advance(8 * 365 * 86400.0)          # every timer on the way fires at its own time
broker.flush()                             # commits, then confirms
"""

from collections.abc import Iterable

from amqtask.devbroker.context import Context
from amqtask.devbroker.emulate import DEFAULT, profile
from amqtask.devbroker.errors import Refusal, not_allowed
from amqtask.devbroker.faults import Faults
from amqtask.devbroker.journal import Forgetful, Journal
from amqtask.devbroker.message import Message
from amqtask.devbroker.replyto import ReplyAddresses
from amqtask.devbroker.roles import Confirming
from amqtask.devbroker.session import Session
from amqtask.devbroker.sinks import SessionSink
from amqtask.devbroker.vhost import VirtualHost

MEMORY_WATERMARK = 512 * 1024 * 1024
"""Bytes in queues above which publishers are blocked."""
CONSUMER_TIMEOUT = 1800.0
"""Seconds that a delivery may stay without an acknowledgement, as RabbitMQ has it."""
_CLEARED_AT = 0.9


class Broker:
    """Virtual hosts, sessions, alarms, and the time.

    Not thread-safe: whoever owns it calls it from one thread. `now` is in seconds since the epoch, sizes in bytes.
    """

    def __init__(
        self,
        *,
        now: float,
        emulate: str = DEFAULT,
        vhosts: Iterable[str] = ("/",),
        journal: Journal | None = None,
        memory_watermark: int = MEMORY_WATERMARK,
        consumer_timeout: float = CONSUMER_TIMEOUT,
    ) -> None:
        self.context = Context(now, profile(emulate), journal or Forgetful())
        self.vhosts: dict[str, VirtualHost] = {}
        self.faults = Faults()
        self.replies = ReplyAddresses()
        self.sessions: dict[int, Session] = {}
        self.consumer_timeout = consumer_timeout
        self.memory_watermark = memory_watermark
        self._unconfirmed: list[Confirming] = []
        self._sessions_made = 0
        self._block_reason: str | None = None
        self._is_low_on_memory = False
        for name in vhosts:
            self.add_vhost(name)

    @property
    def now(self) -> float:
        return self.context.now

    # Virtual hosts and sessions.

    def add_vhost(self, name: str) -> VirtualHost:
        """The virtual host of that name, made if need be."""
        vhost = self.vhosts.get(name)
        if vhost is None:
            vhost = self.vhosts[name] = VirtualHost(name, self.context)
            self.context.journal.vhost_added(name)
        return vhost

    def vhost(self, name: str = "/") -> VirtualHost:
        """Raises HardError (530) if there is none such."""
        try:
            return self.vhosts[name]
        except KeyError:
            raise not_allowed(f"vhost {name} not found") from None

    def connect(self, sink: SessionSink, *, vhost: str = "/", user: str = "guest", name: str = "") -> Session:
        """A client's connection. Raises HardError (530) for an unknown virtual host."""
        host = self.vhost(vhost)
        self._sessions_made += 1
        session = Session(self, host, sink, number=self._sessions_made, user=user, name=name)
        self.sessions[session.number] = session
        return session

    def forget(self, session: Session) -> None:
        """A session has ended."""
        self.sessions.pop(session.number, None)

    # Time and confirms.

    def advance(self, now: float) -> None:
        """Let time pass until `now`, doing on the way what is due, each thing at its time. Time does not go back."""
        timers = self.context.timers
        self.context.horizon = now
        while (due := timers.next_at()) is not None and due <= now:
            timer = timers.pop()
            self.context.now = max(self.context.now, timer.when)
            timer.action()
        self.context.now = max(self.context.now, now)

    def next_deadline(self) -> float | None:
        """When `advance` has something to do next, or None."""
        return self.context.timers.next_at()

    def confirm_later(self, channel: Confirming) -> None:
        """`channel` has verdicts for its publisher; `flush` lets them out."""
        self._unconfirmed.append(channel)

    def flush(self) -> None:
        """Commit what is to be kept, then confirm it to publishers; block or unblock them by the memory in use."""
        if self.context.journal.is_dirty:
            self.context.journal.commit()
        waiting, self._unconfirmed = self._unconfirmed, []
        for channel in waiting:
            channel.tell_confirms()
        limit = self.memory_watermark * (_CLEARED_AT if self._is_low_on_memory else 1)
        if (self.context.memory > limit) is not self._is_low_on_memory:
            self._is_low_on_memory = not self._is_low_on_memory
            self._apply_alarm()

    # Alarms.

    @property
    def alarm(self) -> str | None:
        """Why publishers are blocked, or None."""
        if self._block_reason is not None:
            return self._block_reason
        return "low on memory" if self._is_low_on_memory else None

    def block(self, reason: str = "low on memory") -> None:
        """Block everybody who publishes, as a memory or disk alarm does, until `unblock`."""
        self._block_reason = reason
        self._apply_alarm()

    def unblock(self) -> None:
        self._block_reason = None
        self._apply_alarm()

    def _apply_alarm(self) -> None:
        for session in list(self.sessions.values()):
            session.heed_alarm()

    # For tests and faults.

    def messages(self, queue: str, vhost: str = "/") -> list[Message]:
        """What is ready in a queue, the next one first. Raises SoftError (404)."""
        host = self.vhost(vhost)
        found = host.queues.get(queue)
        return found.snapshot() if found is not None else host.queue(queue).snapshot()

    def close_connection(self, number: int, error: Refusal) -> None:
        """Close a client's connection with a code. Raises KeyError if there is none of that number."""
        self.sessions[number].fail(error)

    def close_channel(self, number: int, channel: int, error: Refusal) -> None:
        """Close a client's channel with a code. Raises KeyError if there is none such."""
        self.sessions[number].channels[channel].fail(error)
