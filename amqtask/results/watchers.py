"""Who waits for which task: the callbacks of a backend's watches."""

import threading
from collections.abc import Iterable

from amqtask.core.state import TaskResult
from amqtask.errors import AmqtaskError
from amqtask.log import event, get_logger
from amqtask.results.base import Update, Watcher

logger = get_logger("results")


class Watchers:
    """Callbacks by task id. Thread-safe; callbacks are called without its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_task: dict[str, list[Watcher]] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._by_task

    def __len__(self) -> int:
        return len(self._by_task)

    def add(self, task_id: str, callback: Watcher) -> bool:
        """Whether it is the first for this task."""
        with self._lock:
            there = self._by_task.setdefault(task_id, [])
            there.append(callback)
            return len(there) == 1

    def remove(self, task_id: str, callback: Watcher) -> bool:
        """Whether nobody is left who waits for this task. One that is not there is no error."""
        with self._lock:
            there = self._by_task.get(task_id)
            if there is None or callback not in there:
                return False
            there.remove(callback)
            if not there:
                del self._by_task[task_id]
            return not there

    def tasks(self) -> list[str]:
        """The ids that somebody waits for."""
        with self._lock:
            return list(self._by_task)

    def tell(self, result: TaskResult) -> bool:
        """Tell those who wait for this task; whether there are any."""
        with self._lock:
            callbacks = list(self._by_task.get(result.task_id, ()))
        for callback in callbacks:
            call(callback, result)
        return bool(callbacks)

    def end(self, error: AmqtaskError, task_ids: Iterable[str] | None = None) -> None:
        """Tell those who wait, for these tasks or for any, that nothing comes; they are removed."""
        with self._lock:
            ids = list(self._by_task) if task_ids is None else list(task_ids)
            callbacks = [callback for task_id in ids for callback in self._by_task.pop(task_id, ())]
        for callback in callbacks:
            call(callback, error)


def call(callback: Watcher, update: Update) -> None:
    """Call a watcher; an error of its own is logged, for the thread that calls serves others too."""
    try:
        callback(update)
    except Exception:
        logger.exception("a callback of a result failed", extra=event("callback-failed"))
