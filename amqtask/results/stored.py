"""Backends on a store that is asked by task id: Redis, SQL, memcached, files and others.

An adapter is a `Store`: blocking calls, one at a time and thread. What all backends need beside it is here: a thread
that writes, in batches and again while the store is down, and a thread that looks for those who wait.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from amqtask.core import extended_json
from amqtask.core.state import SUCCESS, ResultRef, TaskResult, ref_from_json, ref_to_json
from amqtask.errors import BackendFailed, MessageError
from amqtask.results.base import Done, Unsubscribe, Watcher
from amqtask.results.codec import Record, failure_instead
from amqtask.results.retrying import Retrying
from amqtask.results.setup import BackendSetup
from amqtask.results.watchers import Watchers, call
from amqtask.results.writer import Writer


class Store(Protocol):
    """A place that keeps bytes by task id and by group id. Thread-safe.

    Every method raises BackendFailed where trying again may help, and something else where it cannot.
    """

    def write(self, records: Sequence[Record]) -> None:
        """Keep each record unless one of a greater precedence is there: atomic, whoever else writes. Ids differ."""
        ...

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those that are there."""
        ...

    def delete(self, task_id: str) -> None:
        """Drop a task's value."""
        ...

    def write_group(self, group_id: str, value: bytes) -> None:
        """Keep a group's value."""
        ...

    def read_group(self, group_id: str) -> bytes | None:
        """A group's value."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Drop a group's value."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Lookout(Protocol):
    """Tells watchers of what happens in a store: by being told itself, or by looking again and again."""

    def watch(self, task_id: str) -> None:
        """Somebody begins to wait for this task. Does not wait for the network."""
        ...

    def unwatch(self, task_id: str) -> None:
        """Nobody waits for this task any more."""
        ...

    def close(self) -> None:
        """End the thread."""
        ...


class StoredResults:
    """A ResultBackend on a Store."""

    def __init__(self, store: Store, setup: BackendSetup, lookout: "Callable[[Store, Watchers], Lookout]") -> None:
        """`lookout` makes what tells the watchers; it is called for when somebody first waits."""
        self._store = store
        self._setup = setup
        self._watchers = Watchers()
        self._make_lookout = lookout
        self._lookout: Lookout | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._writer = Writer(store.write, setup)
        # A caller who looks waits for less long than a report that would be lost.
        self._reading = Retrying(setup, min(setup.connect_timeout, setup.retry_for))

    def reply_to(self) -> str | None:
        return None

    def expect(self, task_id: str) -> None:
        pass

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        try:
            record = self._setup.codec.record(result)
        except Exception as error:  # noqa: BLE001 - a serializer may raise anything, and the caller hears of it
            done(error)
            return

        def written(error: Exception | None) -> None:
            if error is None or isinstance(error, BackendFailed) or record.result.status != SUCCESS:
                done(error)
                return
            failed = failure_instead(record.result, error)
            self._writer.add(self._setup.codec.record(failed), done)

        self._writer.add(record, written)

    def latest(self, task_id: str) -> TaskResult | None:
        value = self._reading.call(lambda: self._store.read([task_id])).get(task_id)
        if value is None:
            return None
        try:
            return self._setup.codec.unpack(value)
        except MessageError as error:
            raise BackendFailed(f"the stored result of task {task_id} cannot be read: {error}") from error

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        self._watchers.add(task_id, callback)
        with self._lock:
            if self._closed:
                call(callback, _closed())
                return lambda: None
            if self._lookout is None:
                self._lookout = self._make_lookout(self._store, self._watchers)
        self._lookout.watch(task_id)
        return lambda: self._unwatch(task_id, callback)

    def forget(self, task_id: str) -> None:
        self._reading.call(lambda: self._store.delete(task_id))

    def save_group(self, group: ResultRef) -> None:
        value = extended_json.dumps({"result": ref_to_json(group)})
        self._reading.call(lambda: self._store.write_group(group.id, value))

    def restore_group(self, group_id: str) -> ResultRef | None:
        value = self._reading.call(lambda: self._store.read_group(group_id))
        if value is None:
            return None
        try:
            data = extended_json.loads(value)
            return ref_from_json(data["result"]) if isinstance(data, dict) else None
        except (ValueError, KeyError, MessageError) as error:
            raise BackendFailed(f"the stored group {group_id} cannot be read: {error}") from error

    def delete_group(self, group_id: str) -> None:
        self._reading.call(lambda: self._store.delete_group(group_id))

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._writer.close()
        if self._lookout is not None:
            self._lookout.close()
        self._watchers.end(_closed())
        self._store.close()

    def _unwatch(self, task_id: str, callback: Watcher) -> None:
        if self._watchers.remove(task_id, callback) and self._lookout is not None:
            self._lookout.unwatch(task_id)


def _closed() -> BackendFailed:
    return BackendFailed("the result backend was closed")
