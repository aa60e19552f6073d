"""Orphans: tasks that were acknowledged before they ran, and whose process died. The broker knows nothing of them.

A process tells its supervisor of each such task before the start (`amqtask.worker.early`). When it dies, another
process of the node gets what it left, and gives these tasks their end.
"""

from collections.abc import Iterable

from amqtask.log import event, get_logger
from amqtask.worker.pipe import Note
from amqtask.worker.process import Process

logger = get_logger("worker")


class Orphans:
    """The supervisor's: who answers for which task, until its end is seen."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, Note]] = {}
        """By the process's number, then by the task's id."""
        self._waiting: dict[str, Note] = {}
        """Nobody was there yet to take them."""

    def began(self, process: Process, note: Note) -> None:
        """A process is about to run a task that it has acknowledged."""
        self._kept.setdefault(process.number, {})[note["id"]] = note

    def over(self, process: Process, note: Note) -> None:
        """The task came to its end, and its effects were seen."""
        self._kept.get(process.number, {}).pop(note["id"], None)

    def left(self, process: Process, others: Iterable[Process]) -> None:
        """A process ended: what it left goes to one of the others that can take it, or waits for one."""
        self._waiting.update(self._kept.pop(process.number, {}))
        heir = next((other for other in others if other.ready and not other.stopping), None)
        if heir is not None:
            self.adopt(heir)

    def adopt(self, heir: Process) -> None:
        """Have a process end what waits for that. Should it die meanwhile, the next one does."""
        while self._waiting:
            task_id, note = self._waiting.popitem()
            self._kept.setdefault(heir.number, {})[task_id] = note
            heir.send({"do": "adopt", "task": note})

    def end(self) -> None:
        """The node ends; say what nobody gives an end."""
        unsettled = list(self._waiting)
        for kept in self._kept.values():
            unsettled += kept
        if unsettled:
            logger.error(
                "%d tasks were acknowledged before they ran and are lost without a result: %s",
                len(unsettled),
                ", ".join(unsettled),
                extra=event("lost", ids=unsettled),
            )
