"""The pool `threads`: executions in threads, while the main thread waits.

A soft limit is an exception that Python raises at the thread's next step: code that waits in C sees it afterwards.
"""

import queue
from collections.abc import Callable

from amqtask.executors.base import Abilities
from amqtask.executors.crew import Crew


class ThreadsExecutor(Crew):
    """A crew, and a main thread that waits for its end."""

    abilities = Abilities(soft_limit=True, hard_limit=False)

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        self.join()

    def stop(self) -> None:
        self.dismiss()
        self._calls.put(None)

    def call(self, function: Callable[[], None]) -> None:
        self._calls.put(function)
