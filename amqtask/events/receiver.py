"""Receiver: hears the events of all nodes, in a queue of its own that drops what is too old."""

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self, TypeAlias

from amqtask.core.declare import BindQueue, DeclareQueue
from amqtask.core.message import Delivery
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import BrokerError, ConnectionLost
from amqtask.events.cluster import Cluster
from amqtask.events.model import exchange, read
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session, SessionOptions

logger = get_logger("events")

KEEP_MS = 5000
MOST_WAITING = 10_000

Handler: TypeAlias = Callable[[dict[str, Any]], object]


class Receiver(QuietSink):
    """Events as they come: iterate over it, or give handlers by type (`*` takes all) and `capture`.

    A context manager. Events that came while nobody took them are kept up to a bound, the newest are dropped then.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        exchange: str,
        handlers: Mapping[str, Handler] | None = None,
        keys: Sequence[str] = ("#",),
        wake: Callable[[], object] | None = None,
    ) -> None:
        """`keys` are routing keys: `task.#`, `worker.#`. `wake` asks the nodes for a sign of life once connected."""
        self._exchange = exchange
        self._handlers = dict(handlers or {})
        self._keys = tuple(keys)
        self._wake = wake
        self._events: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._error: BrokerError | None = None
        self._ever_open = False
        self._session = Session(options, [self], name="events", on_failure=self._failed)
        self._started = False
        self.dropped = 0
        self.clock = 0

    def __enter__(self) -> Self:
        self._session.start()
        self._started = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.stop(5.0)

    def next(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next event; None where none came within `timeout` seconds.

        Raises:
            BrokerError: it was never connected, and cannot be.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._error is not None and not self._ever_open:
                raise self._error
            left = 0.2 if until is None else min(0.2, max(0.0, until - time.monotonic()))
            try:
                return self._events.get(timeout=left)
            except queue.Empty:
                if until is not None and time.monotonic() >= until:
                    return None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            found = self.next()
            if found is not None:
                yield found

    def capture(self, *, limit: int | None = None, timeout: float | None = None) -> int:
        """Have the handlers called for events until there were `limit`, or none came for `timeout` seconds."""
        count = 0
        if not self._started:
            with self:
                return self.capture(limit=limit, timeout=timeout)
        while limit is None or count < limit:
            found = self.next(timeout)
            if found is None:
                break
            count += 1
            for name, handler in self._handlers.items():
                if fnmatchcase(found["type"], name):
                    handler(found)
        return count

    # The session's thread

    def opened(self, connection: Connection) -> None:
        channel = connection.channel(self, confirms=False)
        channel.declare(exchange(self._exchange))
        arguments = {"x-message-ttl": KEEP_MS}
        info = channel.declare(
            DeclareQueue(name="", durable=False, exclusive=True, auto_delete=True, arguments=arguments)
        )
        assert info is not None, "a queue was declared"
        for key in self._keys:
            channel.declare(BindQueue(queue=info.name, exchange=self._exchange, routing_key=key))
        if self._keys != ("#",):
            # Batches go under a key of their own.
            channel.declare(BindQueue(queue=info.name, exchange=self._exchange, routing_key="task.multi"))
        channel.consume(info.name, no_ack=True, exclusive=True, arguments={})
        self._ever_open = True
        if self._wake is not None:
            self._wake()

    def lost(self, error: BrokerError) -> None:
        """The next connection makes another queue."""

    def turn(self, now: float) -> float:
        return NEVER

    def delivered(self, delivery: Delivery) -> None:
        try:
            for found in read(delivery.envelope):
                clock = found.get("clock")
                self.clock = max(self.clock, clock if isinstance(clock, int) else 0) + 1
                found["local_received"] = time.time()
                self._put(found)
        except ValueError as error:
            logger.warning("a message of events cannot be read: %s", error, extra=event("events-unreadable"))

    def cancelled(self, consumer_tag: str) -> None:
        raise ConnectionLost("the queue of events is gone")

    def _put(self, found: dict[str, Any]) -> None:
        try:
            self._events.put_nowait(found)
        except queue.Full:
            self.dropped += 1

    def _failed(self, error: BrokerError, tries: int) -> None:
        self._error = error


class AppEvents:
    """`app.events`: hears what nodes and tasks tell."""

    def __init__(self, options: SessionOptions, exchange: str, wake: Callable[[], object]) -> None:
        self._options = options
        self._exchange = exchange
        self._wake = wake

    def receiver(self, handlers: Mapping[str, Handler] | None = None, *, keys: Sequence[str] = ("#",)) -> Receiver:
        """A receiver of the events under these routing keys; `handlers` by type, with `*` for any characters."""
        return Receiver(self._options, exchange=self._exchange, handlers=handlers, keys=keys, wake=self._wake)

    def cluster(self, *, most_tasks: int = 10_000, most_nodes: int = 1000) -> Cluster:
        """An empty picture of nodes and tasks, to be filled with events: `receiver({"*": cluster.take})`.

        It keeps the nodes and the tasks that were heard of last.
        """
        return Cluster(most_tasks=most_tasks, most_nodes=most_nodes)
