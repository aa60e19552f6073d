"""Rates: the supervisor's side of rate limits: one bucket a task for the whole node, granted to processes in turn."""

import collections

from amqtask.core.ratelimit import Bucket
from amqtask.worker.pipe import Note
from amqtask.worker.process import Process

NEVER = float("inf")


class Rates:
    """Grants starts. Everything belongs to the supervisor's thread."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._wanting: dict[str, collections.deque[Process]] = {}
        self._spare: collections.Counter[str] = collections.Counter()

    def want(self, process: Process, task: str, rate: float) -> None:
        """A process has an execution of a task that waits for its start."""
        bucket = self._buckets.setdefault(task, Bucket(rate))
        bucket.rate = rate
        self._wanting.setdefault(task, collections.deque()).append(process)

    def unused(self, task: str) -> None:
        """A grant came too late for its execution: another one may have it."""
        self._spare[task] += 1

    def gone(self, process: Process) -> None:
        """It wants nothing any more."""
        for wanting in self._wanting.values():
            while process in wanting:
                wanting.remove(process)

    def turn(self, now: float) -> float:
        """Grant what may start; the instant of the next grant."""
        due = NEVER
        for task, wanting in self._wanting.items():
            bucket = self._buckets[task]
            while wanting and (self._spare[task] or bucket.take(now)):
                if self._spare[task]:
                    self._spare[task] -= 1
                note: Note = {"do": "grant", "task": task}
                wanting.popleft().send(note)
            if wanting:
                due = min(due, bucket.due(now))
            else:
                # A grant that nobody can use is not saved up.
                self._spare.pop(task, None)
        return due
