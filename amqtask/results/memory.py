"""Results in the memory of this process, for tests and for eager runs."""

import threading

from amqtask.core.state import ResultRef, TaskResult, supersedes
from amqtask.errors import BackendFailed
from amqtask.results.base import Done, Unsubscribe, Watcher
from amqtask.results.codec import ResultCodec
from amqtask.results.setup import BackendSetup
from amqtask.results.watchers import Watchers, call


class MemoryBackend:
    """A dictionary. Nothing expires.

    With a codec, what is kept is what a store would give back: plain data. Without one a value is kept as it is.
    """

    def __init__(self, codec: ResultCodec | None = None) -> None:
        self._codec = codec
        self._lock = threading.Lock()
        self._results: dict[str, TaskResult] = {}
        self._groups: dict[str, ResultRef] = {}
        self._watchers = Watchers()

    def reply_to(self) -> str | None:
        return None

    def expect(self, task_id: str) -> None:
        pass

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        if self._codec is not None:
            result = self._codec.decode(self._codec.encode(result))
        with self._lock:
            kept = supersedes(result, self._results.get(result.task_id))
            if kept:
                self._results[result.task_id] = result
        if kept:
            self._watchers.tell(result)
        done(None)

    def latest(self, task_id: str) -> TaskResult | None:
        return self._results.get(task_id)

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        self._watchers.add(task_id, callback)
        present = self._results.get(task_id)
        if present is not None:
            call(callback, present)

        def unsubscribe() -> None:
            self._watchers.remove(task_id, callback)

        return unsubscribe

    def forget(self, task_id: str) -> None:
        self._results.pop(task_id, None)

    def save_group(self, group: ResultRef) -> None:
        self._groups[group.id] = group

    def restore_group(self, group_id: str) -> ResultRef | None:
        return self._groups.get(group_id)

    def delete_group(self, group_id: str) -> None:
        self._groups.pop(group_id, None)

    def close(self) -> None:
        self._watchers.end(BackendFailed("the result backend was closed"))


def create(setup: BackendSetup) -> MemoryBackend:
    """The backend `memory`."""
    return MemoryBackend(setup.codec)
