"""Reading the streams of results: from their beginning up to now for some keys, or on and on for those who wait.

One session; each reading has a channel and a consumer of its own, which start at the stream's first message.
"""

import threading
from collections.abc import Callable, Collection

from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BackendFailed, BrokerError
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session, SessionOptions

logger = get_logger("results")

END = "end"
"""The type of the message that a reader writes to see how far the stream goes now."""

_PREFETCH = 1000
_ACK_EVERY = 250


class Reading(QuietSink):
    """One consumer on one stream. `hear` gets the messages whose correlation id is wanted."""

    def __init__(
        self, stream: DeclareQueue, wanted: Collection[str], hear: Callable[[Envelope], None], end: str | None
    ) -> None:
        """`end` is the correlation id of the message at which it ends; None: it goes on."""
        self.stream = stream
        self.wanted = wanted
        self.error: BrokerError | None = None
        self.over = threading.Event()
        self.count = 0
        self._hear = hear
        self._end = end
        self._channel: Channel | None = None
        self._last_tag = 0
        self._unacked = 0

    def wait(self, patience: float) -> None:
        """Wait for the end, for as long as messages come.

        Raises:
            BackendFailed: the connection was lost, or nothing came for `patience` seconds.
        """
        seen = -1
        while not self.over.wait(patience):
            if self.count == seen:
                raise BackendFailed(f"nothing came from the stream {self.stream.name} for {patience:g} s")
            seen = self.count
        if self.error is not None:
            raise BackendFailed(f"the stream of results cannot be read: {self.error}") from self.error

    # Session's thread from here on.

    def open(self, connection: Connection) -> None:
        channel = connection.channel(self, confirms=False)
        channel.declare(self.stream)
        channel.qos(_PREFETCH)
        channel.consume(self.stream.name, no_ack=False, exclusive=False, arguments={"x-stream-offset": "first"})
        self._channel = channel
        self._unacked = 0

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def acknowledge(self) -> None:
        """Ask for more: on a stream an acknowledgement is credit, nothing else."""
        if self._channel is not None and self._unacked >= _ACK_EVERY:
            self._channel.settle(self._last_tag, Verdict.ACK, multiple=True)
            self._unacked = 0

    def fail(self, error: BrokerError) -> None:
        """The connection or the channel is gone."""
        self._channel = None
        if self._end is not None:
            self.error = error
            self.over.set()

    def delivered(self, delivery: Delivery) -> None:
        self.count += 1
        self._unacked += 1
        self._last_tag = delivery.tag
        if self.over.is_set():
            return
        key = delivery.envelope.correlation_id
        if key is None:
            return
        if key == self._end:
            self.over.set()
        elif key in self.wanted:
            self._hear(delivery.envelope)

    def cancelled(self, consumer_tag: str) -> None:
        self.closed(BrokerError(f"the stream {self.stream.name} was deleted"))

    def closed(self, error: BrokerError) -> None:
        logger.warning("a stream of results is not read any more: %s", error, extra=event("stream-closed"))
        self.fail(error)

    @property
    def is_open(self) -> bool:
        return self._channel is not None


class LogSession:
    """The session that reads; it connects when it is first needed."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._readings: list[Reading] = []
        self._closed = False

    def read(self, reading: Reading) -> None:
        """Begin to read; one without an end begins anew on each new connection, until `stop`."""
        self._call(lambda: self._start(reading))

    def stop(self, reading: Reading) -> None:
        """Read no further."""
        self._call(lambda: self._stop(reading))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closed = True
            session = self._session
        if session is not None:
            session.stop(5.0)

    def _call(self, call: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                raise BackendFailed("the result backend was closed")
            if self._session is None:
                self._session = Session(self._options, [self], name="results")
                self._session.start()
        self._session.call_soon(call)

    # Session's thread from here on.

    def opened(self, connection: Connection) -> None:
        for reading in self._readings:
            reading.open(connection)
        self._connection = connection

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        for reading in self._readings:
            reading.fail(error)
        self._readings = [reading for reading in self._readings if not reading.over.is_set()]

    def turn(self, now: float) -> float:
        for reading in self._readings[:]:
            reading.acknowledge()
            if reading.over.is_set():
                reading.close()
                self._readings.remove(reading)
            elif not reading.is_open and self._connection is not None:
                reading.open(self._connection)
        return NEVER

    def _start(self, reading: Reading) -> None:
        self._readings.append(reading)
        if self._connection is not None:
            reading.open(self._connection)

    def _stop(self, reading: Reading) -> None:
        if reading in self._readings:
            self._readings.remove(reading)
            reading.close()
