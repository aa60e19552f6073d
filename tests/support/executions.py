"""Executions for tests of executors, and a stage to run them on."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from amqtask.executors.base import Executor
from tests.support.eventually import eventually

_numbers = itertools.count(1)


class Act:
    """An execution that keeps the executor's law as the worker's does, and notes what happens to it."""

    def __init__(self, executor: Executor, work: Callable[[], Any]) -> None:
        self.executor = executor
        self.work = work
        self.id = f"act-{next(_numbers)}"
        self.is_async = asyncio.iscoroutinefunction(work)
        self.interruptible = False
        self.interrupt: type[BaseException] | None = None
        self.started = 0
        self.finished = 0
        self.value: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        self.started += 1
        try:
            self.value = self._user_code()
        except BaseException as error:  # noqa: BLE001 - it is what the test asks about
            self.error = error
        self._settle()

    async def run_async(self) -> None:
        self.started += 1
        try:
            self.value = await self._user_coroutine()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        self._settle()

    def _user_code(self) -> object:
        try:
            self.interruptible = True
            return self.work()
        finally:
            self.interruptible = False
            if self.interrupt is not None:
                self.executor.calm(self)

    async def _user_coroutine(self) -> object:
        work: Callable[[], Awaitable[object]] = self.work
        try:
            self.interruptible = True
            return await work()
        finally:
            self.interruptible = False
            if self.interrupt is not None:
                self.executor.calm(self)

    def _settle(self) -> None:
        """What the worker does after the user's code: steps in Python, into which nothing may be raised."""
        total = 0
        for number in range(100):
            total += number
        self.finished += 1


class Stage:
    """Runs an executor on this thread while a script submits from another, as the worker's I/O thread does."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.played = False

    def act(self, work: Callable[[], Any]) -> Act:
        """Submit an execution of a function."""
        made = Act(self.executor, work)
        self.executor.submit(made)
        return made

    def play(self, script: Callable[[], None]) -> None:
        """Run the script, then stop; what the script raised is raised here."""
        self.played = True
        failures: list[BaseException] = []

        def perform() -> None:
            try:
                script()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)
            finally:
                self.executor.stop()

        thread = threading.Thread(target=perform, name="script")
        thread.start()
        self.executor.run()
        thread.join()
        if failures:
            raise failures[0]


def ended(*acts: Act) -> None:
    """Wait until all of them are finished."""
    eventually(lambda: all(act.finished for act in acts), message="not all executions ended")


def running(*acts: Act) -> None:
    """Wait until the user's code of all of them runs."""
    eventually(lambda: all(act.interruptible for act in acts), message="not all executions started")
