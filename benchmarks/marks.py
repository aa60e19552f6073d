"""Marks: the file in which finished tasks leave a byte each, and the check that none is missing or twice there."""

import collections
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the marks say about a number of tasks."""

    expected: int
    seen: int
    missing: int
    repeated: int

    @property
    def is_exact(self) -> bool:
        return self.missing == 0 and self.repeated == 0

    def __str__(self) -> str:
        return f"{self.seen} of {self.expected} tasks ran, {self.missing} missing, {self.repeated} repeated"


def tally(marks: bytes, expected: int) -> Tally:
    """Compare the marks of tasks 0 … expected-1 with what they should be; each task's byte is its index modulo 256."""
    seen = collections.Counter(marks)
    whole, rest = divmod(expected, 256)
    missing = repeated = 0
    for value in range(256):
        surplus = seen[value] - (whole + (value < rest))
        missing += max(0, -surplus)
        repeated += max(0, surplus)
    return Tally(expected=expected, seen=len(marks), missing=missing, repeated=repeated)


class Marks:
    """The file itself, as the harness sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def count(self) -> int:
        return self.path.stat().st_size

    def clear(self) -> None:
        """Only while no task runs."""
        with self.path.open("r+b") as file:
            file.truncate(0)

    def tally(self, expected: int) -> Tally:
        return tally(self.path.read_bytes(), expected)
