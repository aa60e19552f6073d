"""Reporting: the log lines about executions."""

import logging

from amqtask.core.outcome import Failure, Ignored, Outcome, Refused, Rejected, RetryWanted, Revoked, Success, Survived
from amqtask.log import event, get_logger
from amqtask.worker.execution import Execution

logger = get_logger("worker")
task_logger = get_logger("task")


def label(execution: Execution) -> str:
    """The task's name and id, as log lines have it."""
    return f"{execution.request.name}[{execution.id}]"


def report(execution: Execution, outcome: Outcome) -> None:
    """One log line about the end of an execution."""
    if isinstance(outcome, Success) and not task_logger.isEnabledFor(logging.INFO):
        return
    extra = event(
        type(outcome).__name__.lower(), task=execution.request.task, task_id=execution.id, queue=execution.queue
    )
    if isinstance(outcome, Success):
        task_logger.info("%s succeeded in %.3f s", label(execution), outcome.runtime, extra=extra)
    elif isinstance(outcome, Failure):
        error = outcome.error
        shown = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if outcome.expected:
            task_logger.info("%s failed as expected: %s", label(execution), shown, extra=extra)
        else:
            task_logger.error(
                "%s failed after %.3f s: %s\n%s",
                label(execution),
                outcome.runtime,
                shown,
                outcome.traceback,
                extra=extra,
            )
    elif isinstance(outcome, RetryWanted):
        because = f": {type(outcome.error).__name__}: {outcome.error}" if outcome.error is not None else ""
        task_logger.info(
            "%s is retried in %g s (retry %d)%s",
            label(execution),
            outcome.countdown,
            outcome.retries,
            because,
            extra=extra,
        )
    elif isinstance(outcome, Rejected):
        where = "back to its queue" if outcome.requeue else "to the dead letters"
        task_logger.warning("%s was rejected, %s: %s", label(execution), where, outcome.reason, extra=extra)
    elif isinstance(outcome, Refused):
        task_logger.error("%s is not executed: %s", label(execution), outcome.detail, extra=extra)
    elif isinstance(outcome, Revoked):
        task_logger.info("%s %s", label(execution), "expired" if outcome.expired else "was revoked", extra=extra)
    elif isinstance(outcome, Ignored):
        task_logger.info("%s was ignored", label(execution), extra=extra)
    elif isinstance(outcome, Survived):
        deaths = sum(outcome.tally.values())
        task_logger.warning("%s goes on after the death of %d processes", label(execution), deaths, extra=extra)
    else:
        task_logger.debug("%s came too early", label(execution), extra=extra)


def report_start(execution: Execution) -> None:
    """One log line about a start. Nothing is put together where nobody reads it: that costs 2 µs a task."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s started", label(execution), extra=event("started", task_id=execution.id))
