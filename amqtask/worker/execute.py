"""Executing:

decodes the body, calls the user's function and turns whatever happens into an Outcome; nothing escapes.
"""

import asyncio
import contextvars
import functools
import os
import random
import threading
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import cast

from amqtask.clock import Clock
from amqtask.context import Context, DeliveryInfo, enter
from amqtask.core.body import TaskBody
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
from amqtask.core.state import FAILURE, STARTED, SUCCESS
from amqtask.errors import ContentRefused, Ignore, MessageError, Reject, Retry
from amqtask.hooks import Middleware, compose
from amqtask.log import event, get_logger
from amqtask.worker.board import Board
from amqtask.worker.execution import Execution

logger = get_logger("worker")

Finish = Callable[[Execution, Outcome], None]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


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
        acknowledge: Callable[[Execution, Callable[[], object]], None],
        started: Callable[[Execution], None],
        finish: Finish,
        calm: Callable[[Execution], None],
    ) -> None:
        """`may_start` is asked just before the start; `started` hears of it; `finish` takes each outcome once.

        `acknowledge` has an early ack written and calls back then, from another thread. If the execution is not `acked`
        after that, the broker delivers the message again.
        `calm` is the executor's.
        """
        self._node = node
        self._clock = clock
        self._board = board
        self._accept = tuple(accept)
        self._max_size = max_decompressed_size
        self._serializers = serializers
        self._may_start = may_start
        self._acknowledge = acknowledge
        self._started = started
        self._finish = finish
        self._calm = calm
        self._base = contextvars.copy_context()
        self._free_slots = list(range(board.slots))
        self._call: Callable[[Context], object] = compose([m.around_execute for m in middlewares], _call)
        self._call_async: Callable[[Context], Awaitable[object]] = compose(
            [m.around_execute_async for m in middlewares], _call_async
        )

    def run(self, execution: Execution) -> None:
        """Run an execution of a plain function, and see it finished."""
        if not self._open(execution):
            return
        if not execution.effective.acks_late:
            written = threading.Event()
            self._acknowledge(execution, written.set)
            written.wait()
            if not execution.acked:
                return
        self._start(execution)
        outcome = self._base.copy().run(self._guarded, execution)
        self._end(execution, outcome)

    async def run_async(self, execution: Execution) -> None:
        """Run an execution of a coroutine function, and see it finished."""
        if not self._open(execution):
            return
        if not execution.effective.acks_late:
            loop = asyncio.get_running_loop()
            told = loop.create_future()
            self._acknowledge(execution, functools.partial(loop.call_soon_threadsafe, told.set_result, None))
            await told
            if not execution.acked:
                return
        self._start(execution)
        self._end(execution, await self._guarded_async(execution))

    def peek(self, execution: Execution) -> TaskBody | None:
        """The body of a message that is not executed; None where it has none that could be read."""
        try:
            return read_body(
                execution.request,
                accept=self._accept,
                max_decompressed_size=self._max_size,
                serializers=self._serializers,
            )
        except MessageError:
            return None

    def _open(self, execution: Execution) -> bool:
        """Decode the message; False if the task is not to run."""
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
        return True

    def _start(self, execution: Execution) -> None:
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
        assert context is not None, "set by _open"
        enter(context)  # for good: this runs in a context of its own
        try:
            self._tell_start(execution)
            outcome = self._returned(execution, self._user_code(execution, context))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its outcome
            outcome = self._raised(execution, error)
        if execution.task.has_hooks:
            tell_task(execution, outcome)
        return outcome

    def _tell_start(self, execution: Execution) -> None:
        if execution.effective.track_started:
            execution.task.update_state(STARTED, {"pid": os.getpid(), "hostname": self._node})

    def _user_code(self, execution: Execution, context: Context) -> object:
        try:
            execution.interruptible = True
            if execution.task.has_hooks:
                execution.task.before_start(execution.id, context.args, context.kwargs)
            return self._call(context)
        finally:
            # In this order: see `Executor.interrupt`.
            execution.interruptible = False
            if execution.interrupt is not None:
                self._calm(execution)

    async def _guarded_async(self, execution: Execution) -> Outcome:
        context = execution.context
        assert context is not None, "set by _open"
        enter(context)
        try:
            self._tell_start(execution)
            outcome = self._returned(execution, await self._user_coroutine(execution, context))
        except asyncio.CancelledError as error:
            reason = execution.interrupt
            outcome = self._raised(execution, error if reason is None else reason().with_traceback(error.__traceback__))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its outcome
            outcome = self._raised(execution, error)
        if execution.task.has_hooks:
            tell_task(execution, outcome)
        return outcome

    async def _user_coroutine(self, execution: Execution, context: Context) -> object:
        try:
            execution.interruptible = True
            if execution.task.has_hooks:
                execution.task.before_start(execution.id, context.args, context.kwargs)
            return await self._call_async(context)
        finally:
            execution.interruptible = False
            if execution.interrupt is not None:
                self._calm(execution)

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
        text = _traceback(error)
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
                # A message that goes on with its deaths counted is a new one to the broker.
                redelivered=delivery.redelivered or request.crashes > 0,
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
    typed = task.typed
    if typed is None:
        return task(*context.args, **context.kwargs)
    args, kwargs = typed.objects(context.args, context.kwargs)
    return typed.plain_result(task(*args, **kwargs))


async def _call_async(context: Context) -> object:
    task = context.current
    assert task is not None, "set by _context"
    typed = task.typed
    if typed is None:
        return await cast(Awaitable[object], task(*context.args, **context.kwargs))
    args, kwargs = typed.objects(context.args, context.kwargs)
    return typed.plain_result(await cast(Awaitable[object], task(*args, **kwargs)))


def tell_task(execution: Execution, outcome: Outcome) -> None:
    """Call what the task's class has for this outcome. It changes nothing any more: what it raises is logged."""
    task, context = execution.task, execution.context
    assert context is not None, "it was executed"
    task_id, args, kwargs = execution.id, context.args, context.kwargs
    try:
        match outcome:
            case Success(value):
                task.on_success(value, task_id, args, kwargs)
                task.after_return(SUCCESS, value, task_id, args, kwargs, "")
            case Failure(error, text):
                task.on_failure(error, task_id, args, kwargs, text)
                task.after_return(FAILURE, error, task_id, args, kwargs, text)
            case RetryWanted(error=error, traceback=text):
                task.on_retry(error, task_id, args, kwargs, text)
    except BaseException:  # not even SystemExit may keep the message from being settled
        logger.exception("%s[%s]: a method of its class failed", task.name, task_id, extra=event("task-hook-failed"))


def _traceback(error: BaseException) -> str:
    """The traceback from the user's first frame on; our own frames above it tell the user nothing."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first or error.__traceback__))
