"""What the benchmarked tasks do: the same statements for every framework."""

import functools
import os
import time

from benchmarks.job import Job

_BYTES = tuple(bytes([value]) for value in range(256))


@functools.cache
def _marks() -> int:
    # Opened by the process that runs the tasks, on its first task.
    return os.open(Job.from_environment().marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def mark(index: int) -> None:
    """One write of one byte. Its value tells tasks apart, so that one lost and one run twice do not cancel out."""
    os.write(_marks(), _BYTES[index & 255])


def mark_byte(byte: bytes) -> None:
    """The same for the bare drivers, whose messages carry the byte itself."""
    os.write(_marks(), byte)


def burn(seconds: float) -> None:
    """Use that much CPU time in this thread, however busy the machine is."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
