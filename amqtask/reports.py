"""Reports about tasks that no worker makes when it settles: states of running ones, and the end of those never sent."""

from collections.abc import Callable
from datetime import UTC, datetime

from amqtask.context import Context
from amqtask.core.message import TaskMessage
from amqtask.core.state import REVOKED, TaskResult
from amqtask.errors import Unserializable
from amqtask.log import event, get_logger
from amqtask.results.base import ResultBackend

logger = get_logger("results")


def never_runs(message: TaskMessage, now: float) -> bool:
    """Whether it expires before anybody may run it; `now` is seconds since the epoch."""
    if message.expires is None:
        return False
    moment = datetime.fromtimestamp(now, UTC)
    return message.expires <= (moment if message.eta is None else max(moment, message.eta))


def drop_expired(message: TaskMessage, backend: ResultBackend, now: float) -> None:
    """Report it as expired without sending it: a worker would do nothing else when its time has come."""
    logger.info(
        "%s[%s] is not sent: it would have expired when it may run",
        message.task,
        message.id,
        extra=event("expired", task_id=message.id),
    )
    if message.ignore_result:
        return
    result = TaskResult(
        task_id=message.id,
        status=REVOKED,
        result={"exc_type": "TaskRevoked", "exc_message": ["expired"], "exc_module": "amqtask.errors"},
        date_done=datetime.fromtimestamp(now, UTC),
        parent_id=message.parent_id,
        root_id=message.root_id,
        group_id=message.group_id,
        name=message.task,
    )
    backend.store(result, reply_to=message.reply_to, done=_report_loss(message))


def report(context: Context, state: str, meta: object, backend: ResultBackend) -> None:
    """Keep a state of a running execution.

    Raises:
        Unserializable: `meta` has no form.
    """
    if context.id is None:
        return
    refusals: list[Unserializable] = []

    def done(error: Exception | None) -> None:
        if isinstance(error, Unserializable):
            refusals.append(error)  # found out at once, on this thread
        elif error is not None:
            logger.warning(
                "the state %s of task %s was not kept: %s",
                state,
                context.id,
                error,
                extra=event("state-lost", task_id=context.id),
            )

    result = TaskResult(
        task_id=context.id,
        status=state,
        result=meta,
        parent_id=context.parent_id,
        root_id=context.root_id,
        group_id=context.group,
        name=context.task,
        worker=context.hostname,
        retries=context.retries,
        queue=context.delivery_info.queue or None,
    )
    backend.store(result, reply_to=context.reply_to, done=done)
    if refusals:
        raise refusals[0]


def _report_loss(message: TaskMessage) -> Callable[[Exception | None], None]:
    def done(error: Exception | None) -> None:
        if error is not None:
            logger.warning(
                "the end of task %s was not kept: %s", message.id, error, extra=event("state-lost", task_id=message.id)
            )

    return done
