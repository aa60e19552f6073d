"""A thread that writes reports to a store, in batches, again and again while the store is down."""

import collections
import functools
import threading
from collections.abc import Callable, Sequence

from amqtask.errors import BackendFailed
from amqtask.log import event, get_logger
from amqtask.results.base import Done
from amqtask.results.codec import Record
from amqtask.results.retrying import Retrying
from amqtask.results.setup import BackendSetup

logger = get_logger("results")

_BATCH = 200
_CLOSING = 5.0


class Writer:
    """Takes reports from any thread. The worker's prefetch bounds what waits here: a message whose report is not kept
    yet is not settled yet."""

    def __init__(self, write: Callable[[Sequence[Record]], None], setup: BackendSetup) -> None:
        self._write = write
        self._retrying = Retrying(setup, setup.retry_for)
        self._waiting: collections.deque[tuple[Record, Done]] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, record: Record, done: Done) -> None:
        """Write a report soon and say so to `done`."""
        with self._changed:
            if not self._closed:
                self._waiting.append((record, done))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="amqtask-results", daemon=True)
                    self._thread.start()
                self._changed.notify()
                return
        done(BackendFailed("the result backend was closed"))

    def close(self) -> None:
        """Write what waits, for at most a few seconds, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSING)
            self._retrying.stop()
            thread.join(_CLOSING)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            self._write_batch(batch)

    def _write_batch(self, batch: list[tuple[Record, Done]]) -> None:
        best: dict[str, Record] = {}
        for record, _ in batch:
            known = best.get(record.result.task_id)
            if known is None or record.precedence >= known.precedence:
                best[record.result.task_id] = record
        errors: dict[str, Exception] = {}
        try:
            self._retrying.call(lambda: self._write(list(best.values())))
        except BackendFailed as error:
            errors = dict.fromkeys(best, error)
        except Exception as error:  # noqa: BLE001 - a client library may raise anything; those who wait hear of it
            # One of them cannot be written; alone, it shows itself and does not take the others along.
            errors = self._write_one_by_one(best) if len(best) > 1 else dict.fromkeys(best, error)
        for record, done in batch:
            _tell(done, errors.get(record.result.task_id))

    def _write_one_by_one(self, records: dict[str, Record]) -> dict[str, Exception]:
        errors: dict[str, Exception] = {}
        for task_id, record in records.items():
            try:
                self._retrying.call(functools.partial(self._write, [record]))
            except Exception as error:  # noqa: BLE001 - as above
                errors[task_id] = error
        return errors


def _tell(done: Done, error: Exception | None) -> None:
    try:
        done(error)
    except Exception:
        logger.exception("who stored a result failed to hear of it", extra=event("callback-failed"))
