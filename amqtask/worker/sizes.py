"""Sizes: how many members the chords have that a Celery client sent.

Its messages do not say so. The client writes the number to its store of results before it sends the last member
(`celery/canvas.py`, `group._apply_tasks`). So whoever asks when its part was counted in hears it, if it is the last.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from amqtask.results.base import ChordSizes, ResultBackend
from amqtask.worker.sending import Done


class Sizes:
    """Asks the results' store, which may take its time: on a thread of its own that begins with the first question."""

    def __init__(self, backend: ResultBackend) -> None:
        self._store = backend if isinstance(backend, ChordSizes) else None
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    @property
    def are_known(self) -> bool:
        """Whether the results are where a Celery client keeps the sizes of its chords, too."""
        return self._store is not None

    def ask(self, group_id: str, heard: Callable[[int | None], None], done: Done) -> None:
        """Have `heard` called with the number, None where there is none, or `done` with why nobody can say."""

        def answer() -> None:
            try:
                size = self._known().chord_size(group_id)
            except Exception as error:  # noqa: BLE001 - asked again like any effect that fails
                done(error)
            else:
                heard(size)

        self._pool().submit(answer)

    def forget(self, group_id: str, done: Done) -> None:
        """The chord is over: have no number for a member that comes again."""

        def answer() -> None:
            try:
                self._known().forget_chord_size(group_id)
            except Exception as error:  # noqa: BLE001 - asked again like any effect that fails
                done(error)
            else:
                done(None)

        self._pool().submit(answer)

    def close(self) -> None:
        """End the thread. What was not answered counts as not done: its message comes again."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)

    def _known(self) -> ChordSizes:
        assert self._store is not None, "asked only where are_known"
        return self._store

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(1, thread_name_prefix="amqtask-sizes")
            return self._threads
