"""Comebacks: messages that the broker took back while their tasks ran, and that come again to the same process.

The copy takes the first one's place: the task does not run twice here, and its outcome settles the copy. That holds
also for a task that ends before its message is back.
"""

from collections.abc import Callable, Collection, Mapping

from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import Outcome
from amqtask.core.request import Request
from amqtask.core.tick import COPY
from amqtask.log import event, get_logger
from amqtask.worker.consumer import Consumer
from amqtask.worker.execution import Execution
from amqtask.worker.report import label

logger = get_logger("worker")

LOOK_EVERY = 0.5
LOOKS = 20
"""So often an outcome is looked at while there is a channel on which its message could come again; then another worker
has it."""


class Comebacks:
    """Keeps outcomes until their messages come again. Everything belongs to the session's thread."""

    def __init__(
        self,
        running: Mapping[str, Execution],
        held: Collection[Execution],
        consumer: Consumer,
        finish: Callable[[Execution, Outcome], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """`running` by task id; `held` are all that came and are not settled; `later` calls back after some seconds."""
        self._running = running
        self._held = held
        self._consumer = consumer
        self._finish = finish
        self._later = later
        self._outcomes: dict[Execution, Outcome] = {}
        self._closed = False

    def attach(self, request: Request, delivery: Delivery) -> bool:
        """Whether this delivery is the message of an execution that is here already."""
        if not delivery.redelivered:
            return False
        execution = self._running.get(request.id) or self._waiting(request.id)
        if execution is None or execution.ended or execution.request.headers.get(COPY) != request.headers.get(COPY):
            return False
        old, execution.delivery = execution.delivery, delivery
        if execution.acked:
            # Its acknowledgement was lost with the connection.
            self._consumer.settle(delivery, Verdict.ACK)
        elif old.generation == delivery.generation:
            # Its consumer was cancelled, or it was sent twice: of two deliveries on one channel one is enough.
            self._consumer.settle(old, Verdict.ACK)
        outcome = self._outcomes.pop(execution, None)
        when = "while it runs" if outcome is None else "after it had run"
        logger.info("%s came again %s; it does not run twice", label(execution), when, extra=event("attached"))
        if outcome is not None:
            self._finish(execution, outcome)
        return True

    def ended(self, execution: Execution, outcome: Outcome) -> None:
        """An execution is over; finish it, unless its message is to come again first."""
        if self._closed or execution.acked or execution.ended or not self._consumer.is_void(execution.delivery):
            self._finish(execution, outcome)
            return
        self._outcomes[execution] = outcome
        self._look(execution, LOOKS)

    def close(self) -> None:
        """Wait for nothing any more: no message comes."""
        self._closed = True
        while self._outcomes:
            self._finish(*self._outcomes.popitem())

    def _waiting(self, task_id: str) -> Execution | None:
        # What is not begun goes with its channel, but not with its consumer when only that is cancelled.
        return next((execution for execution in list(self._held) if execution.id == task_id), None)

    def _look(self, execution: Execution, looks: int) -> None:
        if execution not in self._outcomes:
            return
        if looks == 0:
            self._finish(execution, self._outcomes.pop(execution))
            return
        left = looks - 1 if self._consumer.generation else LOOKS
        self._later(LOOK_EVERY, lambda: self._look(execution, left))
