"""The result backend port: what amqtask asks of the place where results are kept.

Laws, each a test in `tests/contract/test_results.py`:

1.  `store` returns without waiting for the store and calls `done` exactly once, from any thread: with None when the
    report is kept (or counts less than what is kept already), with the error when it was given up.
2.  A report never replaces one that counts more (`core.state.precedence`), whoever writes at the same time.
3.  `watch` never waits for the network. The callback hears of the present report, if there is one, and of later ones,
    from any thread; reports may be repeated, come out of order, and those between may be left out, but never the last.
4.  What an unsubscribed watcher would have heard goes nowhere.
5.  A store that is down is asked again with growing pauses; `latest` raises BackendFailed after a bounded time.
6.  `close` ends all watches: their callbacks hear of a BackendFailed.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from amqtask.core.state import ResultRef, TaskResult
from amqtask.errors import AmqtaskError

Update: TypeAlias = TaskResult | AmqtaskError
"""What a watcher hears: a report, or (a BackendFailed, a ResultUnavailable) why there will be no more."""

Watcher: TypeAlias = Callable[[Update], None]
Unsubscribe: TypeAlias = Callable[[], None]
Done: TypeAlias = Callable[[Exception | None], None]


class ResultBackend(Protocol):
    """A place where results are kept. All methods may be called from any thread."""

    def reply_to(self) -> str | None:
        """The queue that task messages of this process name for the replies; None where the store is found otherwise.

        Raises:
            BackendFailed: replies could not be received.
        """
        ...

    def expect(self, task_id: str) -> None:
        """A task of this id is about to be published by this process."""
        ...

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        """Keep a report; `reply_to` is that of the task's message."""
        ...

    def latest(self, task_id: str) -> TaskResult | None:
        """The report that counts most; None if there is none; one with the status UNKNOWN if none can come.

        Raises:
            BackendFailed: the store cannot be asked.
            ResultUnavailable: this backend keeps no results.
        """
        ...

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        """Have `callback` told of the present report and later ones. It must not block."""
        ...

    def forget(self, task_id: str) -> None:
        """Drop what is kept of a task."""
        ...

    def save_group(self, group: ResultRef) -> None:
        """Keep the members of a group under its id."""
        ...

    def restore_group(self, group_id: str) -> ResultRef | None:
        """The group that was saved under this id."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Drop a saved group; its members' results stay."""
        ...

    def close(self) -> None:
        """End threads and connections; idempotent. What is under way is stored first, within a few seconds."""
        ...


@runtime_checkable
class ChordSizes(Protocol):
    """What a backend can have beside: the sizes of the chords of Celery's clients that keep their results there too."""

    def chord_size(self, group_id: str) -> int | None:
        """How many members the chord has; None where its sender has not said so yet, or it is over.

        Raises:
            BackendFailed: the store cannot be asked.
        """
        ...

    def forget_chord_size(self, group_id: str) -> None:
        """The chord is over.

        Raises:
            BackendFailed: the store cannot be asked.
        """
        ...
