"""The wakeup: a pipe that ends a select when a signal comes or another thread hands in a call."""

import collections
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


class Wakeup:
    """Calls from other threads, and the pipe whose reading end a selector watches."""

    def __init__(self) -> None:
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)
        self._closed = False

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` made by `run`. From any thread."""
        self._calls.append(call)
        if not self._closed:
            try:
                os.write(self.writer, b"\0")
            except BlockingIOError:
                return  # so many have woken it that it need not be woken

    def read(self) -> None:
        """Take what woke it."""
        os.read(self.reader, 4096)

    def run(self) -> None:
        """Make the calls."""
        while self._calls:
            self._calls.popleft()()

    @contextmanager
    def signals(self, numbers: Sequence[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
        """Have signals handled so, and wake it; so does the end of a child. Only in the main thread."""
        before = {number: signal.signal(number, handler) for number in numbers}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _wake_only)
        before_wakeup = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_wakeup)
            for number, earlier in before.items():
                signal.signal(number, earlier)

    def close(self) -> None:
        """Close the pipe."""
        self._closed = True
        os.close(self.reader)
        os.close(self.writer)


def _wake_only(signum: int, frame: FrameType | None) -> None:
    """The wakeup descriptor ends the select; the loop looks who ended."""
