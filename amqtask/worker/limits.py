"""Limits: tasks that run too long are interrupted, then ended with their process; near the broker's they are named."""

from collections.abc import Callable, Collection

from amqtask.core.message import Delivery
from amqtask.core.outcome import Failure
from amqtask.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from amqtask.executors.base import Executor
from amqtask.log import event, get_logger
from amqtask.session import NEVER
from amqtask.worker.consumer import MORE_TIME
from amqtask.worker.execute import Finish
from amqtask.worker.execution import Execution
from amqtask.worker.report import label

logger = get_logger("worker")

LOOK_EVERY = 10.0
"""The most seconds between two looks at what nears the broker's time-out for acknowledgements."""
LOOKS = 20
"""So often within that time-out, at the least."""
NEAR = 0.8


class Limits:
    """Watches running executions. `add` and `remove` are called from slots' threads, the rest from the session's."""

    def __init__(
        self,
        *,
        executor: Executor,
        finish: Finish,
        doom: Callable[[Execution], None],
        running: Callable[[], Collection[Execution]],
        overdue: Callable[[Delivery], None],
        consumer_timeout: float,
    ) -> None:
        """`doom` hears of an execution that is over its hard limit and settled: its process must end.

        `overdue` hears, perhaps repeatedly, of what ran longer than the broker waits for acknowledgements.
        """
        self._executor = executor
        self._finish = finish
        self._doom = doom
        self._running = running
        self._overdue = overdue
        self._consumer_timeout = consumer_timeout
        self._limited: dict[Execution, None] = {}
        self._warned: set[Execution] = set()
        self._look_due = 0.0

    def add(self, execution: Execution) -> bool:
        """Watch an execution that has just started; whether it has a limit."""
        if not (execution.deadline or execution.soft_deadline):
            return False
        self._limited[execution] = None
        return True

    def remove(self, execution: Execution) -> None:
        """It is over."""
        self._limited.pop(execution, None)

    def turn(self, now: float) -> float:
        """Do what is due; when the next thing will be."""
        due = self._look(now)
        for execution in list(self._limited):
            if execution.ended:
                continue
            if execution.soft_deadline:
                if execution.soft_deadline <= now:
                    execution.soft_deadline = 0.0
                    self._soft(execution)
                else:
                    due = min(due, execution.soft_deadline)
            if execution.deadline:
                if execution.deadline <= now:
                    execution.deadline = 0.0
                    self._hard(execution, now)
                else:
                    due = min(due, execution.deadline)
        return due

    def _soft(self, execution: Execution) -> None:
        if not self._executor.interrupt(execution, SoftTimeLimitExceeded):
            logger.warning(
                "%s is over its soft limit, and cannot be interrupted now",
                label(execution),
                extra=event("not-interrupted", task_id=execution.id),
            )

    def _hard(self, execution: Execution, now: float) -> None:
        """Settle it as failed while its code still runs, then have the process ended: nothing else stops that code."""
        ran = now - execution.started
        extra = event("hard-limit", task_id=execution.id, runtime=ran)
        if not self._executor.abilities.hard_limit:
            logger.error("%s is over its hard limit, and this pool cannot end it", label(execution), extra=extra)
            return
        logger.error("%s ran %.1f s, over its hard limit; its process is ended", label(execution), ran, extra=extra)
        error = TimeLimitExceeded(f"{execution.request.name} ran {ran:.1f} s, over its hard time limit")
        self._finish(execution, Failure(error, "", ran))
        self._doom(execution)

    def _look(self, now: float) -> float:
        """Warn, once an execution, that the broker is going to give its message to somebody else; tell when it did."""
        if not self._consumer_timeout:
            return NEVER
        if now < self._look_due:
            return self._look_due
        self._look_due = now + min(LOOK_EVERY, self._consumer_timeout / LOOKS)
        running = self._running()
        self._warned.intersection_update(running)
        for execution in running:
            if not execution.started or execution.acked:
                continue
            ran = now - execution.started
            if ran > self._consumer_timeout:
                self._overdue(execution.delivery)
            if ran > NEAR * self._consumer_timeout and execution not in self._warned:
                self._warned.add(execution)
                logger.warning(
                    "%s has run %.0f s; after %.0f s without an ack the broker gives its message to somebody else; %s",
                    label(execution),
                    ran,
                    self._consumer_timeout,
                    MORE_TIME,
                    extra=event("consumer-timeout-near", task_id=execution.id),
                )
        return self._look_due
