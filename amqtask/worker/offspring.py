"""Offspring: a child process, however it was started. `subprocess` would be a part of the supervisor's memory."""

import os
import signal
import time

LONGEST_NAP = 0.05
"""Seconds between two looks at whether it ended."""


class Offspring:
    """A child of this process; nobody else may wait for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout: float = float("inf")) -> int | None:
        """What `poll` says once it ended, or after so many seconds."""
        until = time.monotonic() + timeout
        nap = 0.0005
        while (status := self.poll()) is None and time.monotonic() < until:
            time.sleep(nap)
            nap = min(2 * nap, LONGEST_NAP)
        return status

    def kill(self) -> None:
        """Kill it, if it is still there."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
