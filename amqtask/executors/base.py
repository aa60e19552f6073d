"""The executor port: where user code runs. One implementation a kind of concurrency.

Laws, each a test in `tests/contract/test_executor.py`:

1. `submit` never blocks and may be called from any thread.
2. At most `capacity` executions run at a time; the others wait in the order of their coming.
3. After `stop` nothing is started any more; `run` returns when what runs has ended.
4. Every execution that was started is finished exactly once, whatever the user's code raises.
5. `interrupt` raises into the user's code of an execution where the pool can do that, never into anything else.
6. An execution sees no context variable that another one set.
7. Plain functions and coroutine functions run in every pool.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Execution(Protocol):
    """What an executor runs: one task's run in this process."""

    interruptible: bool
    """The user's code runs. Set and cleared by the execution itself, in the thread where it runs."""
    interrupt: type[BaseException] | None
    """What was last raised into it, set by the executor; a coroutine gets a cancellation in its place."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether `run_async` is the way to run it."""
        ...

    def run(self) -> None:
        """Run it to its end in the calling thread; nothing escapes.

        Once the user's code has ended it clears `interruptible`, and calls `Executor.calm` if `interrupt` is set.
        """
        ...

    async def run_async(self) -> None:
        """Run it to its end as a coroutine; nothing escapes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a pool can do to running code."""

    soft_limit: bool
    """`interrupt` works on plain functions."""
    hard_limit: bool
    """The process may be killed without harming other executions."""


class Waiting(Protocol):
    """Where executions wait for a slot: a deque, or what has another order. Safe to use from several threads."""

    def append(self, execution: Execution, /) -> None:
        """One more waits."""
        ...

    def popleft(self) -> Execution:
        """The next one; IndexError where none waits."""
        ...

    def __len__(self) -> int: ...


class Executor(Protocol):
    """Runs executions in a bounded number of slots."""

    capacity: int
    abilities: Abilities

    def submit(self, execution: Execution) -> None:
        """Have it run as soon as a slot is free. From any thread."""
        ...

    def wait_in(self, waiting: Waiting) -> None:
        """Have executions wait there instead of in a deque. Before the first `submit`."""
        ...

    def waiting(self) -> int:
        """How many are submitted and not started."""
        ...

    def drain(self) -> list[Execution]:
        """Take back all that are not started. From any thread."""
        ...

    def interrupt(self, execution: Execution, error: type[BaseException]) -> bool:
        """Raise `error` inside the user's code of an execution, if that still runs then; False where that cannot be.

        From any thread. Code that waits outside of Python, or never awaits, gets it when it is back.
        """
        ...

    def calm(self, execution: Execution) -> None:
        """The user's code has ended, in the calling thread: have an interrupt that is still on its way forgotten."""
        ...

    def resize(self, capacity: int) -> None:
        """Change the number of slots; what runs goes on. From any thread.

        Raises:
            ValueError: this pool cannot have so many.
        """
        ...

    def run(self) -> None:
        """Run executions until `stop`. Called once, on the process's main thread, or the thread that stands for it."""
        ...

    def stop(self) -> None:
        """Start nothing more, and let `run` return once what runs has ended. From any thread."""
        ...

    def call(self, function: Callable[[], None]) -> None:
        """Have the thread of `run` call `function` between two executions, or beside them where it only waits."""
        ...
