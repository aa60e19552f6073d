"""Executing:

decodes the body, calls the user's function and turns whatever happens into an Outcome; nothing escapes.
"""

import asyncio
import contextvars
import random
import traceback
from collections.abc import Callable, Collection, Sequence

from amqtask.clock import Clock
from amqtask.context import Context, DeliveryInfo, enter, leave
from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import (
    DropReason,
    Failure,
    Ignored,
    Outcome,
    Refused,
    Rejected,
    RetryWanted,
    Success,
)
from amqtask.core.protocol import read_body
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.errors import ContentRefused, Ignore, MessageError, Reject, Retry, SoftTimeLimitExceeded
from amqtask.hooks import Middleware, compose
from amqtask.worker.board import Board
from amqtask.worker.execution import Execution

Finish = Callable[[Execution, Outcome], None]


class Executing:
    """Runs executions for a node: what they all share."""

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        board: Board,
        accept: Collection[str],
        max_decompressed_size: int,
        serializers: Serializers = DEFAULT_SERIALIZERS,
        middlewares: Sequence[Middleware] = (),
        may_start: Callable[[Execution], bool],
        settle: Callable[[Delivery, Verdict], None],
        started: Callable[[Execution], None],
        finish: Finish,
    ) -> None:
        """`may_start` is asked just before the start; `started` hears of it; `finish` takes each outcome once."""
        self._node = node
        self._clock = clock
        self._board = board
        self._accept = tuple(accept)
        self._max_size = max_decompressed_size
        self._serializers = serializers
        self._may_start = may_start
        self._settle = settle
        self._started = started
        self._finish = finish
        self._base = contextvars.copy_context()
        self._free_slots = list(range(board.slots))
        self._onion: Callable[[Context], object] = compose([m.around_execute for m in middlewares], _call)
        self._plain = not middlewares

    def run(self, execution: Execution) -> None:
        """Run an execution of a plain function, and see it finished."""
        if not self._begin(execution):
            return
        outcome = self._base.copy().run(self._guarded, execution)
        self._end(execution, outcome)

    async def run_async(self, execution: Execution) -> None:
        """Run an execution of a coroutine function, and see it finished."""
        if not self._begin(execution):
            return
        # A task of its own has a copy of the context of its own.
        running = asyncio.get_running_loop().create_task(
            self._guarded_async(execution), context=self._base.copy(), name=execution.id
        )
        outcome = await running
        self._end(execution, outcome)

    def _begin(self, execution: Execution) -> bool:
        if not self._may_start(execution):
            return False
        try:
            body = read_body(
                execution.request,
                accept=self._accept,
                max_decompressed_size=self._max_size,
                serializers=self._serializers,
            )
        except MessageError as error:
            reason = DropReason.CONTENT_REFUSED if isinstance(error, ContentRefused) else DropReason.UNDECODABLE
            self._finish(execution, Refused(reason, str(error)))
            return False
        execution.body = body
        execution.context = self._context(execution)
        if not execution.effective.acks_late:
            execution.acknowledge_early(self._settle)
        now = self._clock.monotonic()
        execution.started = now
        self._limits(execution, now)
        try:
            slot = self._free_slots.pop()
        except IndexError:
            slot = self._board.slots  # beyond the board: runs unseen
        execution.slot = slot
        self._board.begin(slot, now, execution.deadline, execution.id, execution.request.task)
        self._started(execution)
        return True

    def _end(self, execution: Execution, outcome: Outcome) -> None:
        slot = execution.slot
        self._board.end(slot)
        if slot < self._board.slots:
            self._free_slots.append(slot)
        self._finish(execution, outcome)

    def _limits(self, execution: Execution, now: float) -> None:
        request, effective = execution.request, execution.effective
        soft = request.soft_time_limit if request.soft_time_limit is not None else effective.soft_time_limit
        hard = request.time_limit if request.time_limit is not None else effective.time_limit
        execution.soft_deadline = now + soft if soft else 0.0
        execution.deadline = now + hard if hard else 0.0

    def _guarded(self, execution: Execution) -> Outcome:
        context = execution.context
        assert context is not None, "set by _begin"
        token = enter(context)
        try:
            try:
                execution.interruptible = True
                value = _call(context) if self._plain else self._onion(context)
                execution.interruptible = False
            finally:
                execution.interruptible = False
            outcome = self._returned(execution, value)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its outcome
            execution.interruptible = False
            outcome = self._raised(execution, error)
        finally:
            leave(token)
        return outcome

    async def _guarded_async(self, execution: Execution) -> Outcome:
        context = execution.context
        assert context is not None, "set by _begin"
        enter(context)
        try:
            execution.interruptible = True
            value = _call(context) if self._plain else self._onion(context)
            if asyncio.iscoroutine(value):
                value = await value
            execution.interruptible = False
            return self._returned(execution, value)
        except asyncio.CancelledError as error:
            execution.interruptible = False
            reason = execution.interrupt
            return self._raised(execution, reason() if reason is not None else error)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its outcome
            execution.interruptible = False
            return self._raised(execution, error)

    def _returned(self, execution: Execution, value: object) -> Outcome:
        context = execution.context
        if context is not None and context.retry_wanted is not None:
            return self._retry(execution, context.retry_wanted, "")
        return Success(value, self._clock.monotonic() - execution.started)

    def _raised(self, execution: Execution, error: BaseException) -> Outcome:
        if isinstance(error, Ignore):
            return Ignored()
        if isinstance(error, Reject):
            return Rejected(str(error.reason) if error.reason is not None else "rejected by the task", error.requeue)
        text = "".join(traceback.format_exception(error))
        wanted = execution.context.retry_wanted if execution.context is not None else None
        if isinstance(error, Retry) and wanted is not None:
            return self._retry(execution, wanted, text)
        runtime = self._clock.monotonic() - execution.started
        retry = execution.effective.retry
        retries = execution.request.retries
        if retry.wants(error) and not retry.exhausted(retries):
            again = RetryWanted(error=error, countdown=retry.delay(retries, random.random()), retries=retries + 1)
            return self._retry(execution, again, text)
        expected = isinstance(error, execution.effective.throws)
        return Failure(error, text, runtime, expected)

    def _retry(self, execution: Execution, wanted: RetryWanted, text: str) -> Outcome:
        return RetryWanted(
            error=wanted.error,
            countdown=wanted.countdown,
            retries=wanted.retries,
            traceback=text,
            args=wanted.args,
            kwargs=wanted.kwargs,
            options=wanted.options,
            runtime=self._clock.monotonic() - execution.started,
        )

    def _context(self, execution: Execution) -> Context:
        request, body = execution.request, execution.body
        assert body is not None, "decoded before"
        delivery = execution.delivery
        return Context(
            id=request.id,
            task=request.task,
            args=body.args,
            kwargs=body.kwargs,
            retries=request.retries,
            root_id=request.root_id,
            parent_id=request.parent_id,
            group=request.group_id,
            group_index=request.group_index,
            correlation_id=request.correlation_id,
            reply_to=request.reply_to,
            eta=request.eta,
            expires=request.expires,
            time_limit=request.time_limit,
            soft_time_limit=request.soft_time_limit,
            ignore_result=ignores_result(execution),
            hostname=self._node,
            origin=request.origin,
            shadow=request.shadow,
            headers=request.headers,
            stamps=request.stamps,
            stamped_headers=request.stamped_headers,
            replaced_task_nesting=request.replaced_task_nesting,
            callbacks=body.callbacks,
            errbacks=body.errbacks,
            chain=body.chain,
            chord=body.chord,
            delivery_info=DeliveryInfo(
                exchange=delivery.exchange,
                routing_key=delivery.routing_key,
                queue=execution.queue,
                priority=request.priority,
                redelivered=delivery.redelivered,
            ),
            called_directly=False,
            message=request,
            current=execution.task,
        )


def ignores_result(execution: Execution) -> bool:
    """Whether nothing is to be kept: the message's word counts, else the task's."""
    said = execution.request.ignore_result
    return execution.effective.ignore_result if said is None else said


def _call(context: Context) -> object:
    task = context.current
    assert task is not None, "set by _context"
    return task(*context.args, **context.kwargs)


def limit_error(execution: Execution) -> type[BaseException]:
    """What a soft limit raises inside the task."""
    execution.interrupt = SoftTimeLimitExceeded
    return SoftTimeLimitExceeded
