"""Beat: one scheduler as a program runs it. The composition root: session, leadership, service, keeper and store."""

import concurrent.futures
import math
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar, cast

from amqtask.app import App
from amqtask.beat.agenda import Agenda
from amqtask.beat.keeper import Keeper
from amqtask.beat.leader import Leadership, leader_queue, with_heartbeat
from amqtask.beat.outlet import Outlet
from amqtask.beat.service import Counters, Service
from amqtask.beat.store import Store, StoreSetup, open_store
from amqtask.beat.telling import Telling
from amqtask.beat.ticker import Tick
from amqtask.core.entry import ScheduleEntry
from amqtask.core.tick import COPY, DUE
from amqtask.core.topology import declare_ops
from amqtask.core.wallclock import zone_named
from amqtask.errors import BrokerError, ChannelClosed
from amqtask.events.emitter import Emitter
from amqtask.log import event, get_logger
from amqtask.publisher import HOPELESS
from amqtask.session import Session, explain
from amqtask.task import CallOptions, TaskOptions
from amqtask.ticket import Ticket

logger = get_logger("beat")

T = TypeVar("T")

CONFIRM_TIMEOUT = 30.0
"""Seconds that a tick may take to be written; its confirm is waited for as long as the connection lasts."""


def group_of(app: App) -> str:
    """The name under which the beats of an app find each other."""
    config = app.config
    return config.beat.name or config.name or app.name


def store_of(app: App) -> Store:
    """The store of an app's beat.

    Raises:
        ConfigError, ExtraMissing: see `amqtask.beat.store.open_store`.
    """
    given = app.config.beat.store
    setup = StoreSetup(name=group_of(app), url=given.url, size=given.size, session=app.session_options)
    return open_store(given.kind, setup)


def defined_entries(app: App) -> dict[str, ScheduleEntry]:
    """The entries of code and of the configuration, which beats code under the same name.

    Raises:
        InvalidSchedule: one in code is wrong.
    """
    return {**app.periodic.entries(app.tasks.values()), **app.config.beat.entries()}


class Beat:
    """One beat. It stands by until it leads, and leads until it ends."""

    def __init__(self, app: App, *, wake: Callable[[], None] = lambda: None) -> None:
        """`wake` hears on another thread that `failure` is there.

        Raises:
            ConfigError, ExtraMissing, InvalidSchedule: the app's beat cannot run.
        """
        self._app = app
        self._wake = wake
        self._clock = app.clock
        config = app.config
        self._give_up_at = self._clock.monotonic() + config.broker.start_timeout
        self._foreign: dict[str, TaskOptions] = {}
        self._outlet = Outlet()
        self._telling = Telling(self._clock)
        if config.events.enabled:
            self._telling.emitter = Emitter(
                node=f"beat@{socket.gethostname()}",
                exchange=config.events.exchange,
                clock=self._clock,
                publisher=lambda: app.publisher,
                later=self._telling.later,
            )
        self._keeper = Keeper(store_of(app), fenced=lambda: self._session.call_soon(self._service.fenced))
        defined = defined_entries(app)
        self._service = Service(
            new_agenda=lambda: Agenda(
                defined,
                zone=zone_named(config.timezone),
                grace=timedelta(seconds=config.beat.grace),
                max_step=timedelta(seconds=config.beat.max_step),
            ),
            clock=self._clock,
            outlet=self._outlet,
            keeper=self._keeper,
            post=self._post,
            telling=self._telling,
            call_soon=lambda call: self._session.call_soon(call),
        )
        self._leadership = Leadership(
            leader_queue(group_of(app)),
            topology=declare_ops(app.topology, config.broker.declare),
            elected=self._service.elected,
            deposed=self._service.deposed,
            nudged=self._service.nudged,
            standing_by=self._stand_by,
        )
        self._session = Session(
            with_heartbeat(app.session_options, math.ceil(config.beat.heartbeat)),
            [self._leadership, self._service, self._telling],
            name="beat",
            on_failure=self._connect_failed,
        )
        self.standing_by = threading.Event()
        """Set once it has reached the broker."""
        self.failure: BrokerError | None = None
        """Why it cannot start: another try would not help."""

    @property
    def leads(self) -> bool:
        """Whether it sends ticks."""
        return self._service.leads

    @property
    def counters(self) -> Counters:
        """What happened since it leads."""
        return self._service.counters

    def next_due(self) -> float | None:
        """When the next tick is due, in seconds since the epoch; None where none will be. Not while it is starting."""
        due = self._ask(self._service.next_due)
        return None if due is None else due.timestamp()

    def is_idle(self) -> bool:
        """Whether all ticks that are due were sent and confirmed."""
        due = self.next_due()
        return not self._ask(lambda: self._service.unfinished) and (due is None or due > self._clock.time())

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer of the session's thread."""
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._session.call_soon(lambda: answer.set_result(question()))
        return answer.result(CONFIRM_TIMEOUT)

    def start(self) -> None:
        """Connect and stand by; returns at once."""
        self._keeper.start()
        self._session.start()

    def stop(self, timeout: float = 10.0) -> None:
        """See what is under way to its end and save it, then hand the lead over."""
        until = self._clock.monotonic() + timeout
        finished = threading.Event()

        def look() -> None:
            self._service.finish()
            if not self._service.unfinished:
                finished.set()

        while not finished.is_set() and self._clock.monotonic() < until:
            self._session.call_soon(look)
            finished.wait(0.02)
        self._telling.flush()
        if self.leads:
            counted = self.counters
            logger.info(
                "beat ends: %d ticks sent, %d refused, %d missed, the latest %.3f s late",
                counted.sent,
                counted.refused,
                counted.missed,
                counted.latest,
                extra=event("beat-counters", **asdict(counted)),
            )
        self._keeper.stop(max(1.0, until - self._clock.monotonic()))
        self._session.stop(timeout)

    def _stand_by(self) -> None:
        if not self.standing_by.is_set():
            logger.info("beat stands by", extra=event("beat-standing-by"))
        self.standing_by.set()

    def _connect_failed(self, error: BrokerError, tries: int) -> None:
        logger.warning("%s; trying again", explain(error), extra=event("connect-failed", tries=tries))
        if self.standing_by.is_set():
            return  # it has worked; it tries for ever
        if isinstance(error, (*HOPELESS, ChannelClosed)) or self._clock.monotonic() >= self._give_up_at:
            self.failure = error
            self._wake()

    def _post(self, tick: Tick, copy: str, send: Callable[[Ticket], None]) -> None:
        """The tick's message, by the ordinary routes."""
        entry = tick.entry
        call: dict[str, Any] = {
            **entry.options,
            "task_id": tick.id,
            "headers": {**cast(dict[str, Any], entry.options.get("headers", {})), COPY: copy, DUE: _text(tick)},
            # Nobody here waits for a result.
            "reply_to": "",
        }
        if entry.expires is not None:
            call["expires"] = entry.expires
        self._app.parts.sender.post(
            self._options(entry.task),
            entry.args,
            entry.kwargs,
            cast(CallOptions, call),
            timeout=CONFIRM_TIMEOUT,
            send=send,
        )

    def _options(self, name: str) -> TaskOptions:
        task = self._app.tasks.find(name)
        if task is not None:
            return task.options
        # One value a name: the sender remembers what holds for an options value.
        return self._foreign.setdefault(name, TaskOptions(name=name))


def _text(tick: Tick) -> str:
    return tick.due.isoformat()
