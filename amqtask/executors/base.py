"""The executor port: where user code runs. One implementation a kind of concurrency.

Laws, each a test in `tests/contract/test_executor.py`:

1. `submit` never blocks and may be called from any thread.
2. At most `capacity` executions run at a time; the others wait in the order of their coming.
3. `run` returns after `stop`, when what runs has ended and what waits was given back by `drain`.
4. Every execution that was started is finished exactly once, whatever the user's code raises.
5. `interrupt` raises into the execution's code where the pool can do that, and says whether it could.
6. An execution sees no context variable that another one set.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Execution(Protocol):
    """What an executor runs: one task's run in this process."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether `run_async` is the way to run it."""
        ...

    def run(self) -> None:
        """Run it to its end in the calling thread; nothing escapes."""
        ...

    async def run_async(self) -> None:
        """Run it to its end as a coroutine; nothing escapes but cancellation by the executor's own end."""
        ...


E = TypeVar("E", bound=Execution)


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a pool can do to running code."""

    soft_limit: bool
    """`interrupt` works on plain functions."""
    hard_limit: bool
    """The process may be killed without harming other executions."""


class Executor(Protocol):
    """Runs executions in a bounded number of slots."""

    capacity: int
    abilities: Abilities

    def submit(self, execution: Execution) -> None:
        """Have it run as soon as a slot is free. From any thread."""
        ...

    def waiting(self) -> int:
        """How many are submitted and not started."""
        ...

    def drain(self) -> list[Execution]:
        """Take back all that are not started. From any thread."""
        ...

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        """Raise `error` inside the running execution, if it still runs;

        False where that cannot be done. From any thread.
        """
        ...

    def resize(self, capacity: int) -> None:
        """Change the number of slots; what runs goes on."""
        ...

    def run(self) -> None:
        """Run executions until `stop`. Called once, on the process's main thread."""
        ...

    def stop(self) -> None:
        """Let `run` return once what runs has ended. From any thread or signal handler."""
        ...

    def call(self, function: Callable[[], None]) -> None:
        """Have the main thread run `function` between two executions, or beside them where it only waits."""
        ...
