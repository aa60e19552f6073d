"""Looks again and again for those who wait, in a store that cannot push: one question a round for all of them."""

import random
import threading
from collections.abc import Mapping, Sequence

from amqtask.errors import BackendFailed, MessageError
from amqtask.log import event, get_logger
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store
from amqtask.results.watchers import Watchers

logger = get_logger("results")

_SHORTEST = 0.01
_GROWTH = 1.5
_CHUNK = 500


class Poller:
    """A Lookout. Its pauses grow while nothing happens, up to `longest_pause`, and are short again after news."""

    def __init__(self, store: Store, watchers: Watchers, setup: BackendSetup) -> None:
        self._store = store
        self._watchers = watchers
        self._setup = setup
        self.longest_pause = setup.poll_interval
        """Seconds; may be changed while it looks."""
        self._told: dict[str, bytes] = {}
        self._news = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="amqtask-results-poll", daemon=True)
        self._start_lock = threading.Lock()

    def watch(self, task_id: str) -> None:
        with self._start_lock:
            if self._thread.ident is None:
                self._thread.start()
        # A second watcher of the same task hears of the present report too.
        self._told.pop(task_id, None)
        self._news.set()

    def unwatch(self, task_id: str) -> None:
        self._told.pop(task_id, None)

    def look_now(self) -> None:
        """Look without waiting for the end of the pause."""
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _run(self) -> None:
        pause = _SHORTEST
        failures = 0
        while not self._closed:
            # Cleared before looking, so that who begins to wait meanwhile is looked for at once.
            self._news.clear()
            try:
                found = self._look()
                failures = 0
            except BackendFailed as error:
                failures += 1
                if failures == 1:
                    logger.warning("%s; looking again", error, extra=event("store-down"))
                self._news.wait(self._setup.backoff.delay(failures, random.random()))
                continue
            pause = _SHORTEST if found else min(pause * _GROWTH, self.longest_pause)
            if self._news.wait(pause if len(self._watchers) else None):
                pause = _SHORTEST

    def _look(self) -> bool:
        """Whether there was anything new."""
        found = False
        task_ids = self._watchers.tasks()
        for start in range(0, len(task_ids), _CHUNK):
            found |= self._tell(self._read(task_ids[start : start + _CHUNK]))
        return found

    def _read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        try:
            return self._store.read(task_ids)
        except BackendFailed:
            raise
        except Exception as error:
            logger.exception("the result store refused to be asked", extra=event("store-refused"))
            self._watchers.end(BackendFailed(f"the result store refused to be asked: {error}"), task_ids)
            return {}

    def _tell(self, values: Mapping[str, bytes]) -> bool:
        found = False
        for task_id, value in values.items():
            if self._told.get(task_id) == value:
                continue
            found = True
            self._told[task_id] = value
            try:
                self._watchers.tell(self._setup.codec.unpack(value))
            except MessageError as error:
                self._watchers.end(
                    BackendFailed(f"the stored result of task {task_id} cannot be read: {error}"), [task_id]
                )
            if task_id not in self._watchers:
                self._told.pop(task_id, None)
        return found
