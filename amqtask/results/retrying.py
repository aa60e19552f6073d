"""Doing something again while a store is down."""

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from amqtask.errors import BackendFailed
from amqtask.log import event, get_logger
from amqtask.results.setup import BackendSetup

logger = get_logger("results")

T = TypeVar("T")


class Retrying:
    """Calls something until it does not raise BackendFailed, for a bounded time and with growing pauses."""

    def __init__(self, setup: BackendSetup, seconds: float) -> None:
        self._backoff = setup.backoff
        self._clock = setup.clock
        self._seconds = seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make no further try."""
        self._stopped.set()

    def call(self, operation: Callable[[], T]) -> T:
        """What `operation` returns.

        Raises:
            BackendFailed: the last one, when the time is over.
        """
        until = self._clock.monotonic() + self._seconds
        tries = 0
        while True:
            try:
                return operation()
            except BackendFailed as error:
                tries += 1
                pause = self._backoff.delay(tries, random.random())
                left = until - self._clock.monotonic()
                if left <= 0 or self._stopped.is_set():
                    raise
                if tries == 1:
                    logger.warning("%s; trying again for %.0f s", error, left, extra=event("store-down"))
                self._stopped.wait(min(pause, left))
