"""Keeper: the thread that owns beat's store, so that a slow disk or database keeps no tick waiting."""

import queue
import random
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from amqtask.beat.book import Book, Kept
from amqtask.beat.store import Store
from amqtask.core.backoff import Backoff
from amqtask.errors import BeatStoreFailed, Fenced
from amqtask.log import event, get_logger

logger = get_logger("beat")

T = TypeVar("T")

IDLE = 5.0
"""Seconds between two looks of an idle store at its connections."""


class Keeper:
    """Does what is asked of a store, one thing after another. Its methods may be called from any thread.

    States that come while it is busy are saved together, the newest of each entry.
    """

    def __init__(self, store: Store, *, fenced: Callable[[], None]) -> None:
        """`fenced` hears on the keeper's thread that another beat has taken over while this one still saves."""
        self._store = store
        self._fenced = fenced
        self._backoff = Backoff(initial=0.2, maximum=10.0)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._states: dict[str, Kept | None] = {}
        self._epoch = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="amqtask-beat-keeper", daemon=True)
        self.failures = 0
        """How often the store failed."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """See to its end what was asked for, as far as the store goes along, and close the store."""
        self._stopping.set()
        self._jobs.put(None)
        self._thread.join(timeout)

    def take_over(self, done: Callable[[int, Book], None], wanted: Callable[[], bool]) -> None:
        """Take over, trying for as long as it is `wanted`; `done` is called on the keeper's thread."""

        def take() -> None:
            while wanted():
                try:
                    taken = self._insist(self._store.take_over, wanted)
                except Fenced:
                    # Whoever was quicker does not hold the token any more, or this one is going to lose it.
                    continue
                if taken is not None:
                    done(*taken)
                return

        self._jobs.put(take)

    def load(self, done: Callable[[Book], None], wanted: Callable[[], bool]) -> None:
        """Read the book; `done` is called on the keeper's thread."""

        def load() -> None:
            book = self._insist(self._store.load, wanted)
            if book is not None:
                done(book)

        self._jobs.put(load)

    def save(self, epoch: int, states: Mapping[str, Kept | None]) -> None:
        """Have these states saved soon."""
        with self._lock:
            waiting = bool(self._states) and epoch == self._epoch
            if epoch != self._epoch:
                self._states.clear()  # of a time as leader that is over
                self._epoch = epoch
            self._states.update(states)
        if not waiting:
            self._jobs.put(self._save)

    def _save(self) -> None:
        with self._lock:
            epoch, states = self._epoch, self._states
            self._states = {}
        if not states:
            return
        try:
            self._insist(lambda: self._store.save(epoch, states), lambda: epoch == self._epoch)
        except Fenced:
            logger.warning("another beat has taken over", extra=event("beat-fenced"))
            self._fenced()

    def _insist(self, call: Callable[[], T], wanted: Callable[[], bool]) -> T | None:
        """The call's value; tried again while the store fails; None when it is not wanted any more."""
        attempt = 0
        while wanted():
            try:
                return call()
            except BeatStoreFailed as error:
                attempt += 1
                self.failures += 1
                delay = self._backoff.delay(attempt, random.random())
                logger.error("%s; trying again in %.1f s", error, delay, extra=event("beat-store-failed"))
                if self._stopping.wait(delay):
                    return None
        return None

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE)
            except queue.Empty:
                self._store.idle()
                continue
            if job is None:
                break
            try:
                job()
            except Exception:
                # A bug must not end the thread that all the state depends on.
                logger.exception("a fault in amqtask itself", extra=event("fault"))
        self._store.close()
