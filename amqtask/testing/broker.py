"""A broker for the tests of an app: in memory, with a clock that the test turns; or a RabbitMQ."""

import abc
import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Unpack, cast, get_args

from amqtask.app import App
from amqtask.assembly import Parts
from amqtask.beat.program import Beat
from amqtask.clock import Clock, SystemClock
from amqtask.config.model import SerializerName
from amqtask.core.content import decode_envelope
from amqtask.core.declare import DeclareQueue, PurgeQueue
from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.plan import join_queue
from amqtask.core.serialize import DEFAULT_SERIALIZERS
from amqtask.core.topology import declare_ops
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.local import LocalBroker
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import AmqtaskError, BrokerError
from amqtask.imports import find_app
from amqtask.testing.worker import BackgroundOptions, BackgroundWorker

APP = {"queues": {"default": {}}, "tasks": {"default_queue": "default"}}
"""The configuration of an app that is made for a test."""
HEADER = bytes(12)
"""Class, weight and size of a content header, which nobody reads of a message that is whole."""
LOOK_AGAIN = 0.001
BEAT_DEADLINE = 30.0
QUIET = 5
"""How often a RabbitMQ must look idle, one look after another, to be taken for it."""
CHORDS = join_queue("")

_numbers = itertools.count(1)


class NotIdle(AmqtaskError):
    """Something still runs or waits to run."""


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue. `task` and `id` are empty where it is no task; `args` and `kwargs` as they were sent."""

    body: bytes
    headers: Mapping[str, HeaderValue]
    task: str = ""
    id: str = ""
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)


class AppBroker(abc.ABC):
    """What a test sees of a broker."""

    url: str
    clock: Clock

    def __init__(self) -> None:
        self.workers: list[BackgroundWorker] = []

    @abc.abstractmethod
    def messages(self, queue: str) -> list[QueuedMessage]:
        """What waits in a queue, the next one first; what a worker holds is not among it."""

    @abc.abstractmethod
    def run_until_idle(self, timeout: float = 30.0) -> None:
        """Return when nothing is under way, nothing runs, and nothing waits in a queue that has a consumer.

        What is delayed waits for its time and is no reason to wait here.

        Raises:
            NotIdle: that did not come about within so many seconds.
        """

    @abc.abstractmethod
    def advance(self, seconds: float) -> None:
        """Let time pass, and all run that is due meanwhile, each thing at its time. Not on a RabbitMQ."""

    @abc.abstractmethod
    def begin(self, app: App) -> None:
        """An app is going to use it."""

    @contextlib.contextmanager
    def using(self, app: App) -> Iterator[App]:
        """Have an app use this broker and its clock; afterwards it is as before."""
        before = app._parts, app._pid, app.clock
        loaded = app._read(app._source, [*app._overrides, f"broker.url={self.url}", "worker.ack_delay=0"])
        app.clock = self.clock
        app._parts, app._pid = Parts(app, loaded, origin="test"), os.getpid()
        try:
            app.load_tasks()
            self.begin(app)
            yield app
        finally:
            app._parts.close(timeout=10.0)
            app._parts, app._pid, app.clock = before

    @contextlib.contextmanager
    def working(self, app: App, **options: Unpack[BackgroundOptions]) -> Iterator[BackgroundWorker]:
        """Have a worker of an app run in this process."""
        with app.worker(**options) as worker:
            self.workers.append(worker)
            yield worker
            self.workers.remove(worker)

    @contextlib.contextmanager
    def beating(self, app: App) -> Iterator[Beat]:
        """Have an app's beat run; it leads when the block begins."""
        beat = Beat(app)
        beat.start()
        try:
            until = time.monotonic() + BEAT_DEADLINE
            while not beat.leads:
                if beat.failure is not None:
                    raise beat.failure
                if time.monotonic() > until:
                    raise BrokerError("the beat does not get the lead")
                time.sleep(LOOK_AGAIN)
            yield beat
        finally:
            beat.stop()


class LocalClock:
    """The clock of a LocalBroker."""

    def __init__(self, local: LocalBroker) -> None:
        self._local = local

    def monotonic(self) -> float:
        return time.monotonic() + self._local.offset

    def time(self) -> float:
        return self._local.time()


class MemoryBroker(AppBroker):
    """A broker in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.local = LocalBroker(f"test-{next(_numbers)}")
        self.url = self.local.url
        self.clock = LocalClock(self.local)
        self._apps: list[App] = []
        self._beats: list[Beat] = []

    def begin(self, app: App) -> None:
        self._apps.append(app)

    def messages(self, queue: str) -> list[QueuedMessage]:
        return [
            read_message(decode_envelope(HEADER + message.properties, message.body))
            for message in self.local.call(lambda broker: broker.messages(queue))
        ]

    def run_until_idle(self, timeout: float = 30.0) -> None:
        until = time.monotonic() + timeout
        while busy := self._busy():
            if time.monotonic() > until:
                raise NotIdle(f"not idle within {timeout:g} s: {', '.join(busy)}")
            time.sleep(LOOK_AGAIN)

    def advance(self, seconds: float) -> None:
        end = self.local.time() + seconds
        self.run_until_idle()
        while (left := end - self.local.time()) > 0:
            # Not past what is due next: what that makes run may ask for something at a time before the end.
            self.local.advance(min(left, max(self._pause(), LOOK_AGAIN)))
            self.run_until_idle()

    @contextlib.contextmanager
    def beating(self, app: App) -> Iterator[Beat]:
        with super().beating(app) as beat:
            self._beats.append(beat)
            yield beat
            self._beats.remove(beat)

    def _pause(self) -> float:
        """Seconds until something is due."""
        ticks = [due for beat in self._beats if (due := beat.next_due()) is not None]
        return min([self.local.pause(), *(due - self.local.time() for due in (*ticks, *self._held()))])

    def _busy(self) -> list[str]:
        """What keeps it from being idle."""
        for app in self._apps:
            app.publisher.flush(1.0)
        known = {name for app in self._apps for name in app.topology.queues}

        def look(broker: Broker) -> tuple[list[str], int]:
            queues = [queue for vhost in broker.vhosts.values() for queue in vhost.queues.values()]
            ours = [queue for queue in queues if queue.name in known or queue.name.startswith(CHORDS)]
            waiting = [queue.name for queue in ours if len(queue.ready) and len(queue.consumers)]
            return waiting, sum(queue.unacked for queue in ours)

        # In the order in which work travels: what has left one place is seen in the next.
        beats = ["beat" for beat in self._beats if not beat.is_idle()]
        held = len(self._held())
        waiting, unacked = self.local.call(look)
        running = [f"{unacked - held} tasks that run"] if unacked > held else []
        return beats + waiting + running

    def _held(self) -> list[float]:
        """When the tasks are due that workers hold for the last second before their time."""
        return [due for worker in self.workers for due in worker.held()]


class RealBroker(AppBroker):
    """A RabbitMQ. Its queues are emptied when an app begins to use it."""

    def __init__(self, url: str, cannot: Callable[[str], NoReturn]) -> None:
        """`cannot` ends a test that asks for what only a broker in memory can do; it is told why."""
        super().__init__()
        self._cannot = cannot
        self.url = url
        self.clock = SystemClock()
        self._app: App | None = None

    def begin(self, app: App) -> None:
        self._app = app
        with self._channel(QuietSink()) as (_, channel):
            for op in declare_ops(app.topology, "always"):
                channel.declare(op)
            for queue in app.topology.queues.values():
                if queue.type != "stream":
                    channel.declare(PurgeQueue(name=queue.name))

    def messages(self, queue: str) -> list[QueuedMessage]:
        seen = Seen()
        with self._channel(seen) as (connection, channel):
            info = channel.declare(DeclareQueue(name=queue, passive=True))
            wanted = 0 if info is None else info.messages
            channel.qos(max(1, wanted))
            channel.consume(queue, no_ack=False, exclusive=False, arguments={})
            until = time.monotonic() + 10.0
            while len(seen.envelopes) < wanted and time.monotonic() < until:
                connection.poll(0.1)
        return [read_message(envelope) for envelope in seen.envelopes]

    def run_until_idle(self, timeout: float = 30.0) -> None:
        until = time.monotonic() + timeout
        quiet = 0
        # What is on its way shows nowhere, so one look is not enough.
        while quiet < QUIET:
            quiet = 0 if self._waiting() else quiet + 1
            if time.monotonic() > until:
                raise NotIdle(f"not idle within {timeout:g} s: {', '.join(self._waiting())}")
            time.sleep(0.05)

    def advance(self, seconds: float) -> None:
        self._cannot("the clock of a RabbitMQ cannot be turned")

    def _waiting(self) -> list[str]:
        app = self._app
        if app is None:
            return []
        app.publisher.flush(1.0)
        running = [task for worker in self.workers for task in worker.unfinished()]
        with self._channel(QuietSink()) as (_, channel):
            infos = [channel.declare(DeclareQueue(name=name, passive=True)) for name in app.topology.queues]
        return running + [info.name for info in infos if info is not None and info.messages and info.consumers]

    @contextlib.contextmanager
    def _channel(self, sink: QuietSink) -> Iterator[tuple[Connection, Channel]]:
        assert self._app is not None, "an app uses it"
        options = self._app.session_options
        connection = options.driver.connect(options.addresses[0].named("amqtask test"), options.connect_timeout)
        try:
            # What it was given to look at goes back to its queue when the connection is closed.
            yield connection, connection.channel(sink, confirms=False)
        finally:
            connection.close()


class Seen(QuietSink):
    """Takes what it is given, and settles nothing."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    def delivered(self, delivery: Delivery) -> None:
        self.envelopes.append(delivery.envelope)


@contextlib.contextmanager
def open_broker(url: str | None, cannot: Callable[[str], NoReturn]) -> Iterator[AppBroker]:
    """The RabbitMQ of this URL, or a broker in memory."""
    if url:
        yield RealBroker(url, cannot)
        return
    broker = MemoryBroker()
    with broker.local:
        yield broker


def app_named(place: str) -> App:
    """The app of `package.module:app`; where nothing is named, one without tasks and with one queue."""
    return find_app(place) if place else App("test", config=APP)


def read_message(envelope: Envelope) -> QueuedMessage:
    """A message as a test wants it."""
    headers = envelope.headers
    if "task" not in headers:
        return QueuedMessage(envelope.body, headers)
    call = DEFAULT_SERIALIZERS.decode(
        envelope.body, envelope.content_type, envelope.content_encoding, get_args(SerializerName)
    )
    args, kwargs, _ = cast("tuple[Sequence[object], Mapping[str, object], object]", call)
    return QueuedMessage(envelope.body, headers, str(headers["task"]), str(headers.get("id", "")), args, kwargs)
