"""Execution: one run of a task in this process, from its delivery to its verdict."""

from typing import TYPE_CHECKING

from amqtask.context import Context
from amqtask.core.body import TaskBody
from amqtask.core.message import Delivery
from amqtask.core.request import Request
from amqtask.effective import Effective
from amqtask.task import AnyTask

if TYPE_CHECKING:
    from amqtask.worker.execute import Executing


class Execution:
    """A task's run. The I/O thread makes it, a slot runs it, and it is settled once.

    `delivery` is what gets the verdict: when the connection was lost while the task ran, the broker delivers the
    message again, and the copy takes the place of the first one here, so that the task does not run twice in this
    process.
    """

    __slots__ = (
        "acked",
        "body",
        "context",
        "deadline",
        "delivery",
        "effective",
        "ended",
        "executing",
        "id",
        "interrupt",
        "interruptible",
        "is_async",
        "queue",
        "received",
        "request",
        "slot",
        "soft_deadline",
        "stale",
        "started",
        "task",
    )

    def __init__(
        self, request: Request, queue: str, task: AnyTask, effective: Effective, executing: "Executing"
    ) -> None:
        self.request = request
        self.delivery: Delivery = request.delivery
        self.id = request.id
        self.queue = queue
        self.task = task
        self.effective = effective
        self.executing = executing
        self.is_async = task.is_async
        self.body: TaskBody | None = None
        self.context: Context | None = None
        self.started = 0.0
        """Monotonic seconds; 0 before it started."""
        self.soft_deadline = 0.0
        self.deadline = 0.0
        """Monotonic seconds; 0 for none."""
        self.slot = -1
        self.acked = False
        """The message was acknowledged before it ran."""
        self.stale = False
        """The broker took its message back while it ran."""
        self.ended = False
        """Its outcome is decided; a later one is dropped."""
        self.interruptible = False
        """The user's code runs, and may be interrupted."""
        self.interrupt: type[BaseException] | None = None
        """What the executor raised into it; a coroutine is cancelled instead, and ends as if that had been raised."""

    def run(self) -> None:
        """Run it in the calling thread."""
        self.executing.run(self)

    async def run_async(self) -> None:
        """Run it as a coroutine."""
        await self.executing.run_async(self)
