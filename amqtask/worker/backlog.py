"""Backlog: deliveries that wait for a slot, and which of them is next when there are several queues.

Thread-safe: the I/O thread appends, slots take. With one queue it is a plain deque.
"""

import collections
import threading
from collections.abc import Mapping

from amqtask.executors.base import Execution as AnyExecution
from amqtask.worker.execution import Execution


class Backlog:
    """Executions of several queues. Weighted: taken in proportion; strict: the first queue that has any, always.

    The proportion is kept by smooth weighted round robin: each taking credits every waiting queue with its weight and
    charges the taken one with the sum, so that 3:1 comes out as a a b a, not a a a b.
    """

    def __init__(self, weights: Mapping[str, int], *, strict: bool = False) -> None:
        self._weights = dict(weights)
        self._strict = strict
        self._waiting: dict[str, collections.deque[Execution]] = {queue: collections.deque() for queue in weights}
        self._credit = dict.fromkeys(weights, 0)
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def is_low(self, queue: str, slots: int) -> bool:
        """Whether more of this queue is wanted soon, so that what is done with should be acknowledged now.

        With one queue, when nothing waits. With several, while as many wait as there are slots: a queue that runs dry
        for the time of a round trip loses its turn to another.
        """
        if len(self._waiting) == 1:
            return self._count == 0
        waiting = self._waiting.get(queue)
        return waiting is None or len(waiting) <= slots

    def append(self, execution: AnyExecution) -> None:
        """One more waits."""
        assert isinstance(execution, Execution), "a worker's backlog holds its executions"
        with self._lock:
            waiting = self._waiting.get(execution.queue)
            if waiting is None:
                waiting = self._waiting[execution.queue] = collections.deque()
                self._weights[execution.queue] = 1
                self._credit[execution.queue] = 0
            waiting.append(execution)
            self._count += 1

    def popleft(self) -> Execution:
        """The next one.

        Raises:
            IndexError: none waits.
        """
        with self._lock:
            queue = self._next()
            execution = self._waiting[queue].popleft()
            self._count -= 1
            return execution

    def _next(self) -> str:
        candidates = [queue for queue, waiting in self._waiting.items() if waiting]
        if not candidates:
            raise IndexError("nothing waits")
        if self._strict or len(candidates) == 1:
            return candidates[0]
        total = 0
        for queue in candidates:
            weight = self._weights[queue]
            self._credit[queue] += weight
            total += weight
        chosen = max(candidates, key=lambda queue: self._credit[queue])
        self._credit[chosen] -= total
        return chosen
