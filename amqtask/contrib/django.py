"""Tasks that are sent when Django's transaction is committed, so that a worker finds what was written."""

from collections.abc import Mapping, Sequence
from typing import ParamSpec, TypeVar, Unpack

from django.db import transaction

from amqtask.task import AnyTask, CallOptions, Task

P = ParamSpec("P")
R = TypeVar("R")


class DjangoTask(Task[P, R]):
    """`@app.task(base=DjangoTask)`. Outside of a transaction a call is sent at once; after a rollback it never is."""

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """As `delay`, when the transaction that is open now is committed; there is no handle before that.

        Raises:
            WrongArguments: the arguments do not fit; said at once.
        """
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        using: str | None = None,
        **call: Unpack[CallOptions],
    ) -> None:
        """As `apply_async`, when the transaction on the database `using` is committed."""
        self.check_arguments(args or (), kwargs or {})
        transaction.on_commit(lambda: self._send_committed(args, kwargs, call), using=using)

    def _send_committed(
        self, args: Sequence[object] | None, kwargs: Mapping[str, object] | None, call: CallOptions
    ) -> None:
        self.apply_async(args, kwargs, **call)


def delay_on_commit(task: Task[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
    """As `DjangoTask.delay_on_commit`, for any task, and with the arguments known to type checkers.

    Raises:
        WrongArguments: the arguments do not fit; said at once.
    """
    task.check_arguments(args, kwargs)
    transaction.on_commit(lambda: _send(task, args, kwargs))


def _send(task: AnyTask, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    task.apply_async(args, kwargs)
