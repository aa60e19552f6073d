"""Crashes: how often processes died while they executed a task, by its id."""

import collections
import secrets
import signal
from collections.abc import Mapping, Sequence

from amqtask.log import event, get_logger
from amqtask.worker.board import Running
from amqtask.worker.process import Process

logger = get_logger("worker")

MOST_REMEMBERED = 10_000


class Crashes:
    """Counts, for those who decide what becomes of such a message."""

    def __init__(self) -> None:
        self.era = secrets.token_hex(4)
        """Tells these counts from those of another supervisor of the same node."""
        self._counts: collections.OrderedDict[str, int] = collections.OrderedDict()

    @property
    def counts(self) -> Mapping[str, int]:
        """By the task's id."""
        return self._counts

    def add(self, process: Process, status: int, others: Sequence[Process]) -> None:
        """A process died: count for what it ran, and tell the others."""
        running: list[Running] = process.running()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
        what = ", ".join(f"{item.task}[{item.id}]" for item in running) or "nothing"
        logger.error(
            "process %d died (%s) while it executed %s; what it held goes back to the queues",
            process.pid,
            how,
            what,
            extra=event("process-died", pid=process.pid, status=status, running=[item.id for item in running]),
        )
        for item in running:
            self._counts[item.id] = self._counts.pop(item.id, 0) + 1
        while len(self._counts) > MOST_REMEMBERED:
            self._counts.popitem(last=False)
        known = {item.id: self._counts[item.id] for item in running}
        for other in others:
            if other is not process and known:
                other.send({"do": "crashed", "crashes": known})
