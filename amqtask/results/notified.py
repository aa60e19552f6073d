"""Looks into a database when it says that there is news: PostgreSQL's LISTEN and NOTIFY."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from amqtask.log import event, get_logger
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.watchers import Watchers

logger = get_logger("results")

_RARELY = 5.0
"""Seconds between looks while notifications come: a proxy such as PgBouncer may swallow them."""

_TURN = 0.5
"""Seconds after which the listening thread looks whether it is to end."""


class Notification(Protocol):
    """What psycopg says of a notification."""

    @property
    def payload(self) -> str: ...


class Listening(Protocol):
    """A connection of psycopg 3 that has begun to listen."""

    def notifies(self, *, timeout: float) -> Iterator[Notification]:
        """What comes within `timeout` seconds."""
        ...

    def close(self) -> None: ...


class Notified:
    """A Lookout: a Poller that is told when to look, and looks by itself when it is not told."""

    def __init__(
        self, poller: Poller, watchers: Watchers, listen: Callable[[], Listening], setup: BackendSetup
    ) -> None:
        """`listen` opens a connection whose notifications carry task ids."""
        self._poller = poller
        self._watchers = watchers
        self._listen = listen
        self._setup = setup
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="amqtask-results-listen", daemon=True)
        self._thread.start()

    def watch(self, task_id: str) -> None:
        self._poller.watch(task_id)

    def unwatch(self, task_id: str) -> None:
        self._poller.unwatch(task_id)

    def close(self) -> None:
        self._closed.set()
        self._poller.close()
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                connection = self._listen()
            except Exception as error:  # noqa: BLE001 - whatever the driver raises, the poller goes on without it
                failures += 1
                self._lost(error, failures)
                continue
            failures = 0
            self._poller.longest_pause = max(_RARELY, self._setup.poll_interval)
            try:
                # What was stored before it listened was not told.
                self._poller.look_now()
                self._read(connection)
            except Exception as error:  # noqa: BLE001 - as above
                self._lost(error, 1)
            finally:
                connection.close()

    def _read(self, connection: Listening) -> None:
        while not self._closed.is_set():
            for notification in connection.notifies(timeout=_TURN):
                if notification.payload in self._watchers:
                    self._poller.look_now()

    def _lost(self, error: Exception, failures: int) -> None:
        self._poller.longest_pause = self._setup.poll_interval
        self._poller.look_now()
        if failures == 1:
            logger.warning("no notifications from the database: %s", error, extra=event("store-down"))
        self._closed.wait(self._setup.backoff.delay(failures, random.random()))
