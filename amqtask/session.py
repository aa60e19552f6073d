"""Session: one connection to the broker, one I/O thread, one owner.

Everything that touches the connection happens on the session's thread. Others hand in callables by `call_soon`. What
uses the connection is a Participant: it is told when a connection opened (declare, open channels, consume) and when it
was lost, so that reconnecting is the same code as connecting.
"""

import collections
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from amqtask.clock import Clock, SystemClock
from amqtask.core.address import Address
from amqtask.core.backoff import Backoff
from amqtask.drivers.base import Connection, Driver
from amqtask.errors import BrokerError, ConnectionFailed, ConnectionLost
from amqtask.log import event, get_logger

logger = get_logger("session")

NEVER = float("inf")


class Participant(Protocol):
    """Who uses a session's connection. All methods are called on the session's thread."""

    def opened(self, connection: Connection) -> None:
        """A new connection is there. A BrokerError raised here ends it; the session tries again."""

    def lost(self, error: BrokerError) -> None:
        """The connection is gone; what was outstanding on it is void."""

    def turn(self, now: float) -> float:
        """Do what is due; the monotonic instant of the next thing to do (NEVER: only when called)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session connects: the driver, the brokers in the order to try them, and how long it waits between tries."""

    driver: Driver
    addresses: Sequence[Address]
    shuffle: bool = False
    connect_timeout: float = 5.0
    backoff: Backoff = field(default_factory=Backoff)
    clock: Clock = field(default_factory=SystemClock)


class Session:
    """One connection that is opened again whenever it is lost, until `stop`."""

    def __init__(
        self,
        options: SessionOptions,
        participants: Sequence[Participant],
        *,
        name: str,
        on_failure: Callable[[BrokerError, int], None] | None = None,
    ) -> None:
        """`on_failure` hears of each failed try to connect, on the session's thread: the error and the try's number."""
        self._options = options
        self._participants = tuple(participants)
        self._name = name
        self._on_failure = on_failure
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._connection: Connection | None = None
        self._waiting = threading.Event()
        self._stopping = False
        self._rest = 0.0
        self._thread = threading.Thread(target=self._run, name=f"amqtask-{name}", daemon=True)
        self.is_open = False
        self.failure: BrokerError | None = None
        """Why there is no connection now, once a try failed."""

    def start(self) -> None:
        """Start the thread; returns at once."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Close the connection and end the thread; whether it ended within `timeout` seconds."""
        self._stopping = True
        self.wake()
        if self._thread.ident is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` run on the session's thread, also while there is no connection. From any thread."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Let the session's thread take a turn now. From any thread."""
        self._waiting.set()
        connection = self._connection
        if connection is not None:
            connection.wake()

    def rest(self, seconds: float) -> None:
        """Read nothing for so long, or until somebody wakes the thread. From a participant's turn, when it has enough.

        What comes meanwhile is read at once then: a wake-up for each message costs more than the message.
        """
        self._rest = seconds

    @property
    def address(self) -> Address:
        """The broker that is tried next, or that the connection is to."""
        return self._address

    _address: Address

    def _run(self) -> None:
        addresses = list(self._options.addresses)
        if self._options.shuffle:
            random.shuffle(addresses)
        failures = 0
        while not self._stopping:
            self._address = addresses[failures % len(addresses)].named(f"{addresses[0].name} {self._name}")
            try:
                connection = self._connect()
            except BrokerError as error:
                failures += 1
                self._failed(error, failures, rounds=failures // len(addresses))
                continue
            failures = 0
            self._serve(connection)

    def _connect(self) -> Connection:
        connection = self._options.driver.connect(self._address, self._options.connect_timeout)
        self._connection = connection
        try:
            for participant in self._participants:
                participant.opened(connection)
        except BrokerError as error:
            self._drop(connection, error)
            raise
        self.is_open = True
        self.failure = None
        logger.debug("connected to %s (%s)", self._address, connection.server, extra=event("connected"))
        return connection

    def _serve(self, connection: Connection) -> None:
        try:
            while not self._stopping:
                self._poll_once(connection)
            # Once more: an acknowledgement decided just before the stop would be lost, and its task run twice.
            self._poll_once(connection)
        except BrokerError as error:
            logger.warning("lost the connection to %s: %s", self._address, error, extra=event("connection-lost"))
            self.failure = error
            self._drop(connection, error)
        except Exception as error:
            # A bug in a participant must not leave a process that looks alive and does nothing.
            logger.exception("a fault in amqtask itself; the connection is opened anew", extra=event("fault"))
            self.failure = ConnectionLost(f"a fault in amqtask itself: {error!r}")
            self._drop(connection, self.failure)
        else:
            self._drop(connection, ConnectionLost("the session was stopped"))

    def _poll_once(self, connection: Connection) -> None:
        # Cleared before the work is looked at, so that a wake during it is not forgotten.
        self._waiting.clear()
        self._run_calls()
        now = self._options.clock.monotonic()
        self._rest = 0.0
        due = min([participant.turn(now) for participant in self._participants], default=NEVER)
        timeout = 0.0 if self._calls or self._stopping else max(0.0, min(due - now, 60.0))
        if self._rest and timeout:
            connection.poll(0.0)  # what is to be written must not wait
            self._waiting.wait(min(self._rest, timeout))
        else:
            connection.poll(timeout)

    def _run_calls(self) -> None:
        # Only what is there now: a call that hands in another must not keep the connection from being read.
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _drop(self, connection: Connection, error: BrokerError) -> None:
        self.is_open = False
        self._connection = None
        for participant in self._participants:
            participant.lost(error)
        connection.close()

    def _failed(self, error: BrokerError, failures: int, *, rounds: int) -> None:
        self.failure = error
        if self._on_failure is not None:
            self._on_failure(error, failures)
        if rounds == 0:
            return  # there are other brokers to try first
        delay = self._options.backoff.delay(rounds, random.random())
        if self._on_failure is None:
            logger.warning("%s; next try in %.1f s", explain(error), delay, extra=event("connect-failed"))
        self._pause(delay)

    def _pause(self, seconds: float) -> None:
        clock = self._options.clock
        until = clock.monotonic() + seconds
        while not self._stopping:
            self._waiting.clear()
            self._run_calls()
            now = clock.monotonic()
            due = min([participant.turn(now) for participant in self._participants], default=NEVER)
            if now >= until:
                return
            self._waiting.wait(max(0.0, min(until, due) - now))


def explain(error: BrokerError) -> str:
    """What happened and what to do, in one line for people."""
    if type(error) is ConnectionFailed:
        return f"{error}; start one with `docker compose up -d rabbitmq` or `rabbitmq-server`"
    return str(error)
