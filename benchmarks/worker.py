"""Worker: the processes of one subject's worker, started, watched and stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import processes
from benchmarks.marks import Marks

ROOT = Path(__file__).resolve().parent.parent

POLL = 0.002
STOP_TIMEOUT = 15.0


class WorkerFailed(Exception):
    """A worker ended too soon or did not get its work done in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """How far the work was, when (perf_counter), and the CPU seconds used until then."""

    count: int
    instant: float
    cpu: float


class Worker:
    """A context manager: started on entry, stopped on exit."""

    def __init__(
        self, commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path, marks: Marks
    ) -> None:
        self._commands = commands
        self._environment = environment
        self._log = log
        self._marks = marks
        self._started: list[subprocess.Popen[bytes]] = []
        self.started_at = 0.0

    def __enter__(self) -> Self:
        self.started_at = time.perf_counter()
        with self._log.open("ab") as log:
            for command in self._commands:
                self._started.append(
                    subprocess.Popen(
                        command,
                        env=self._environment,
                        cwd=ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_for(self, count: int, timeout: float) -> float:
        """Block until that many tasks have left their mark; returns the instant (perf_counter)."""
        deadline = time.perf_counter() + timeout
        while True:
            seen, now = self._marks.count(), time.perf_counter()
            if seen >= count:
                return now
            if any(process.poll() is not None for process in self._started):
                raise WorkerFailed(f"the worker ended after {seen} of {count} tasks:\n{self._tail()}")
            if now > deadline:
                raise WorkerFailed(f"{seen} of {count} tasks in {timeout:.0f} s:\n{self._tail()}")
            time.sleep(POLL)

    def lap(self, count: int, timeout: float) -> Lap:
        """Wait for that many tasks, then look: more may have been done by then."""
        self.wait_for(count, timeout)
        return Lap(count=self._marks.count(), instant=time.perf_counter(), cpu=self.cpu_seconds())

    def cpu_seconds(self) -> float:
        return processes.cpu_seconds(self._leaders)

    def pss_bytes(self) -> dict[int, int]:
        return processes.pss_bytes(self._leaders)

    def stop(self) -> None:
        """Ask once, wait, then kill what is left of our own sessions."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in self._started:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for stat in processes.family(processes.snapshot(), self._leaders):
            if stat.state != "Z":
                try:
                    os.kill(stat.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # It ended by itself meanwhile.
        for process in self._started:
            process.wait()
        self._started.clear()

    @property
    def _leaders(self) -> list[int]:
        return [process.pid for process in self._started]

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
