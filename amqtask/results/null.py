"""The backend that keeps nothing, and says so to whoever asks."""

from amqtask.core.state import ResultRef, TaskResult
from amqtask.errors import ResultUnavailable
from amqtask.results.base import Done, Unsubscribe, Watcher
from amqtask.results.setup import BackendSetup

_WHY = "no result backend keeps results; set results.backend (rpc needs RabbitMQ alone)"


class NullBackend:
    """Takes reports and drops them."""

    def reply_to(self) -> str | None:
        return None

    def expect(self, task_id: str) -> None:
        pass

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        done(None)

    def latest(self, task_id: str) -> TaskResult | None:
        raise ResultUnavailable(_WHY)

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        callback(ResultUnavailable(_WHY))
        return _nothing

    def forget(self, task_id: str) -> None:
        pass

    def save_group(self, group: ResultRef) -> None:
        raise ResultUnavailable(_WHY)

    def restore_group(self, group_id: str) -> ResultRef | None:
        raise ResultUnavailable(_WHY)

    def delete_group(self, group_id: str) -> None:
        pass

    def close(self) -> None:
        pass


def _nothing() -> None:
    pass


def create(setup: BackendSetup) -> NullBackend:
    """The backend `null`."""
    return NullBackend()
