"""Waiting for another task's result inside a task: refused, unless the task says that it means to."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from amqtask.context import running

_allowed: ContextVar[bool] = ContextVar("amqtask_joins_allowed", default=False)


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Within it, a task may wait for another's result. It deadlocks when all workers wait for tasks in their queues."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_inside_task() -> None:
    """Raise if a task runs here that has not said that it means to wait.

    Raises:
        RuntimeError: says what to use instead.
    """
    context = running()
    if context is None or context.called_directly or context.is_eager or _allowed.get():
        return
    raise RuntimeError(
        f"task {context.task} waits for another task's result; when all workers do so, none is left to run what they"
        " wait for. Use a chain, a chord or link=, which go on when the result is there; or, if the other task's queue"
        " has workers of its own, wait within `with allow_join_result():`"
    )
