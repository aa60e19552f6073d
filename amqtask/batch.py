"""Batch: calls that are sent one after another without waiting, and waited for together at the end."""

import asyncio
import contextvars
import threading
from types import TracebackType

from amqtask.errors import BatchFailed
from amqtask.ticket import Ticket

_open: contextvars.ContextVar["Batch | None"] = contextvars.ContextVar("amqtask_batch", default=None)

_NO_BOUND = 2**31 - 1


def open_batch() -> "Batch | None":
    """The batch that calls made here belong to."""
    return _open.get()


class Batch:
    """Within `with app.batch():` `delay` and `apply_async` return as soon as the message is on its way.

    The end waits until the broker has all of them and raises BatchFailed with those it has not. An exception inside
    the block is not replaced by that: what was sent is waited for, and the exception goes on.
    """

    def __init__(self, window: int) -> None:
        """`window` bounds the messages under way; a call beyond it waits for the oldest."""
        self._room = threading.BoundedSemaphore(window)
        self._failures: dict[str, Exception] = {}
        self._last: Ticket | None = None
        self._under_way = 0
        self._changed = threading.Condition()
        self._token: contextvars.Token[Batch | None] | None = None
        self._timeout = 0.0
        self.total = 0
        """How many messages were sent in this batch."""

    @property
    def failures(self) -> dict[str, Exception]:
        """What was not published so far: task id to error."""
        return dict(self._failures)

    def __enter__(self) -> "Batch":
        self._token = _open.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()
        with self._changed:
            # Each ticket is decided by its deadline; this only guards against a publisher whose thread is gone.
            self._changed.wait_for(lambda: self._under_way == 0, timeout=self._timeout + 30.0)
            if self._under_way:
                self._failures[""] = TimeoutError(f"{self._under_way} messages were not decided")
        if error is None and self._failures:
            raise BatchFailed(self._failures, self.total)

    def _leave(self) -> None:
        if self._token is not None:
            _open.reset(self._token)
            self._token = None

    def add(self, ticket: Ticket, timeout: float) -> None:
        """Count a ticket in before it is sent; waits while the window is full."""
        self._room.acquire()
        ticket.on_done = self._done
        self._timeout = max(self._timeout, timeout)
        self.total += 1
        with self._changed:
            self._under_way += 1

    def _done(self, ticket: Ticket) -> None:
        self._room.release()
        if ticket.error is not None:
            self._failures[ticket.envelope.correlation_id or ticket.envelope.message_id or ""] = ticket.error
        with self._changed:
            self._under_way -= 1
            if self._under_way == 0:
                self._changed.notify_all()


class AsyncBatch(Batch):
    """`async with`: as a Batch, but the end is awaited and no call waits for room: the event loop is never held up."""

    def __init__(self) -> None:
        super().__init__(_NO_BOUND)
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()

    async def __aenter__(self) -> "AsyncBatch":
        self.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()
        while self._under_way:
            await self._idle.wait()
            self._idle.clear()
        if error is None and self._failures:
            raise BatchFailed(self._failures, self.total)

    def _done(self, ticket: Ticket) -> None:
        super()._done(ticket)
        if not self._under_way:
            self._loop.call_soon_threadsafe(self._idle.set)
