"""Coroutines: executions of coroutine functions as tasks of one event loop."""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from typing import Any

from amqtask.executors.base import Execution
from amqtask.log import event, get_logger

logger = get_logger("worker")


class Coroutines:
    """The coroutines that run on a loop. All methods but `cancel` belong to the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[Execution], None]) -> None:
        """`ended` is called with each that has come to its end."""
        self._loop = loop
        self._ended = ended
        self._tasks: dict[Execution, asyncio.Task[None]] = {}
        self._base = contextvars.copy_context()

    def start(self, execution: Execution) -> "asyncio.Task[None]":
        """Make it a task, with a context of its own."""
        task = self._loop.create_task(self._run(execution), context=self._base.copy(), name=execution.id)
        self._tasks[execution] = task
        return task

    def runs_now(self, execution: Execution) -> bool:
        """Whether the thread is inside the code of this execution's own coroutine.

        Not the same as being in its task's step, where asyncio does things of its own: what is raised there is lost,
        and the task with it.
        """
        task = self._tasks.get(execution)
        coroutine = task.get_coro() if task is not None else None
        return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_RUNNING

    def cancel(self, execution: Execution, error: type[BaseException]) -> bool:
        """Cancel it, with `error` as the reason; False if it does not run here. From any thread."""
        if execution not in self._tasks:
            return False
        self._loop.call_soon_threadsafe(self._cancel, execution, error)
        return True

    def _cancel(self, execution: Execution, error: type[BaseException]) -> None:
        task = self._tasks.get(execution)
        if task is not None and execution.interruptible:
            execution.interrupt = error
            task.cancel()

    async def _run(self, execution: Execution) -> None:
        try:
            await execution.run_async()
        finally:
            del self._tasks[execution]
            self._ended(execution)


class SlotLoop:
    """The event loop of one slot: it runs coroutines one at a time, in the slot's thread. Made when one comes."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._coroutines: Coroutines | None = None

    def run(self, execution: Execution) -> None:
        """Run it to its end."""
        if self._runner is None or self._coroutines is None:
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._coroutines = Coroutines(self._runner.get_loop(), lambda execution: None)
        run_through(self._runner.get_loop(), self._coroutines.start(execution))

    def runs_now(self, execution: Execution) -> bool:
        """Whether the thread is inside the code of this execution's coroutine. In the slot's thread."""
        return self._coroutines is not None and self._coroutines.runs_now(execution)

    def cancel(self, execution: Execution, error: type[BaseException]) -> bool:
        """Cancel it, with `error` as the reason; False if it does not run here. From any thread."""
        return self._coroutines is not None and self._coroutines.cancel(execution, error)

    def close(self) -> None:
        """Cancel what the coroutines left behind, and close the loop. In the slot's thread."""
        if self._runner is not None:
            self._runner.close()


def run_through(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]") -> None:
    """Run the loop until the future is done, whatever the tasks that user code started there raise.

    asyncio lets SystemExit and KeyboardInterrupt of any task end the whole loop, besides telling who awaits the task.
    """
    while not future.done():
        try:
            loop.run_until_complete(future)
        except (SystemExit, KeyboardInterrupt) as error:
            logger.error("%r in an event loop; only who awaits it is told", error, extra=event("exit-in-loop"))
