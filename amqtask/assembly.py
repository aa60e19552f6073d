"""Assembly: the composition root of an app in one process. Loaded when the app is first used."""

import os
import socket
import threading
from functools import cached_property
from typing import Protocol

from amqtask.clock import Clock
from amqtask.config.loaded import LoadedConfig
from amqtask.control.client import AppControl
from amqtask.control.mailbox import Mailbox
from amqtask.control.purging import purge
from amqtask.core.backoff import Backoff
from amqtask.core.serialize import DEFAULT_SERIALIZERS
from amqtask.core.topology import declare_ops
from amqtask.drivers import load_driver
from amqtask.embedded import need_embedded
from amqtask.errors import UnknownQueue
from amqtask.events.emitter import Emitter
from amqtask.events.receiver import AppEvents
from amqtask.events.sent import SentEvents, later
from amqtask.hooks import Middleware
from amqtask.launch import Launcher
from amqtask.publisher import Publisher
from amqtask.registry import Registry
from amqtask.results import load_backend
from amqtask.results.access import ResultAccess
from amqtask.results.base import ResultBackend
from amqtask.results.codec import ResultCodec
from amqtask.results.setup import BackendSetup
from amqtask.sender import Sender
from amqtask.session import SessionOptions
from amqtask.task import TaskOptions
from amqtask.workflowlog import WorkflowLog


class Owner(Protocol):
    """The app, as its parts see it."""

    name: str
    clock: Clock
    middleware: list[Middleware]
    tasks: Registry

    def options_of(self, name: str) -> TaskOptions:
        """The options of a task by its name."""
        ...


class Parts:
    """What an app is made of in this process; each part is made when it is first asked for."""

    def __init__(self, owner: Owner, loaded: LoadedConfig, *, origin: str) -> None:
        """`origin` names the sender in the messages that are sent from here."""
        self._owner = owner
        self._origin = origin
        self._lock = threading.RLock()
        self._publisher: Publisher | None = None
        self._backend: ResultBackend | None = None
        self.loaded = loaded
        config = loaded.config
        self.config = config
        self.router = loaded.router
        self.topology = self.router.topology
        self._sent = self._sent_events() if config.events.sent else None
        self.sender = Sender(
            config=config,
            router=self.router,
            publisher=lambda: self.publisher,
            results=lambda: self.results,
            clock=owner.clock,
            origin=origin,
            serializers=DEFAULT_SERIALIZERS,
            middlewares=owner.middleware,
            on_sent=None if self._sent is None else self._sent.sent,
        )
        self.launcher = Launcher(
            sender=self.sender,
            publisher=lambda: self.publisher,
            results=lambda: self.results,
            task=owner.tasks.find,
            options=owner.options_of,
            serializers=DEFAULT_SERIALIZERS,
            clock=owner.clock,
            window=config.publish.window,
            timeout=config.publish.timeout,
            inline=self.inline,
            workflows=lambda: self.workflows,
        )

    @cached_property
    def session_options(self) -> SessionOptions:
        """How to connect to the broker. One that is to be embedded is started."""
        broker = self.config.broker
        if broker.embedded:
            need_embedded()
        return SessionOptions(
            driver=load_driver(broker.driver),
            addresses=[address.named(self._owner.name) for address in broker.addresses()],
            shuffle=broker.failover == "shuffle",
            connect_timeout=broker.connect_timeout,
            backoff=Backoff(
                initial=broker.reconnect.initial, maximum=broker.reconnect.max, jitter=broker.reconnect.jitter
            ),
            clock=self._owner.clock,
        )

    @property
    def publisher(self) -> Publisher:
        """This process's publisher."""
        if self._publisher is None:
            with self._lock:
                if self._publisher is None:
                    self._publisher = Publisher(
                        self.session_options,
                        window=self.config.publish.window,
                        topology=declare_ops(self.topology, self.config.broker.declare),
                    )
        return self._publisher

    @property
    def inline(self) -> int | None:
        """The bytes of a chain that a message carries; no bound where Celery's workers are to understand it."""
        return None if self.config.interop == "celery" else self.config.workflows.inline

    @cached_property
    def workflows(self) -> WorkflowLog | None:
        """Where canvases are recorded; None where they are not."""
        if not self.config.workflows.record:
            return None
        return WorkflowLog(clock=self._owner.clock, publisher=lambda: self.publisher)

    @cached_property
    def result_codec(self) -> ResultCodec:
        """How reports of results are written."""
        return ResultCodec(
            serializer=self.config.results.serializer,
            accept=self.config.content.accept,
            compression=self.config.results.compression,
            max_size=self.config.content.max_decompressed_size,
        )

    @property
    def results(self) -> ResultAccess:
        """What handles on results need."""
        return self._results

    @cached_property
    def _results(self) -> ResultAccess:
        with self._lock:
            if self._backend is None:
                results = self.config.results
                setup = BackendSetup(
                    url=results.url,
                    expires=results.expires,
                    prefix=results.prefix,
                    retry_for=results.retry_for,
                    connect_timeout=results.timeout,
                    poll_interval=results.poll_interval,
                    persistent=results.persistent,
                    keep=results.keep,
                    reply_expires=results.reply_expires,
                    options=results.options,
                    codec=self.result_codec,
                    session=self.session_options,
                    publisher=lambda: self.publisher,
                    clock=self._owner.clock,
                )
                self._backend = load_backend(results.backend)(setup)
        return ResultAccess(backend=self._backend, revoke=self._revoke, convert=self._convert)

    def _convert(self, task: str, value: object) -> object:
        known = self._owner.tasks.find(task)
        return value if known is None or known.typed is None else known.typed.result(value)

    def _revoke(self, task_id: str, terminate: bool, signal: str) -> None:
        self.control.revoke(task_id, terminate=terminate, signal=signal)

    @cached_property
    def events(self) -> AppEvents:
        """What nodes and tasks tell."""
        return AppEvents(self.session_options, self.config.events.exchange, lambda: self.control.heartbeat())

    @cached_property
    def control(self) -> AppControl:
        """Remote control of all nodes."""
        settings = self.config.control

        def mailbox() -> Mailbox:
            return Mailbox(self.session_options, exchange=settings.exchange, secret=settings.secret)

        return AppControl(mailbox, settings.reply_timeout, self._purge)

    def _purge(self, queues: tuple[str, ...]) -> int:
        for name in queues:
            if name not in self.topology.queues:
                raise UnknownQueue(
                    f"no queue {name!r} is declared; the configuration has: {', '.join(self.topology.queues)}"
                )
        options = self.session_options
        connection = options.driver.connect(options.addresses[0], options.connect_timeout)
        try:
            return sum(count for _, count in purge(connection, queues or self.topology.work_queues()))
        finally:
            connection.close()

    def _sent_events(self) -> SentEvents:
        emitter = Emitter(
            node=self._origin,
            exchange=self.config.events.exchange,
            clock=self._owner.clock,
            publisher=lambda: self.publisher,
            later=later,
        )
        return SentEvents(emitter)

    def close(self, timeout: float) -> None:
        """See what is under way to its end, then close connections."""
        with self._lock:
            if self._sent is not None:
                self._sent.flush()
            self.control.close()
            if self._backend is not None:
                self._backend.close()
            if self._publisher is not None:
                self._publisher.close(timeout)


def origin() -> str:
    """Who sends from here: Celery's form for clients."""
    return f"gen{os.getpid()}@{socket.gethostname()}"
