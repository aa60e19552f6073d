"""Confirms: what a publisher is still to be told."""

from collections.abc import Callable

Tell = Callable[[int, bool, bool], None]
"""(sequence, multiple, ok)"""


class Confirms:
    """Publishes are counted from 1.

    Verdicts wait until the journal has committed, and go out together where `multiple` can say so.
    """

    def __init__(self) -> None:
        self.published = 0
        self._verdicts: list[tuple[int, bool]] = []
        # All up to this one have been told. Only then may `multiple` be used: it speaks for every lower number too.
        self._told = 0

    def next(self) -> int:
        self.published += 1
        return self.published

    def decide(self, sequence: int, *, ok: bool) -> bool:
        """Note a verdict; True if it is the first that waits."""
        self._verdicts.append((sequence, ok))
        return len(self._verdicts) == 1

    def flush(self, tell: Tell) -> None:
        """Tell every verdict that waits."""
        verdicts, self._verdicts = self._verdicts, []
        first = last = 0
        for sequence, ok in verdicts:
            follows = sequence == self._told + 1
            if last and not (ok and follows):
                tell(last, last > first, True)
                last = 0
            if not (ok and follows):
                tell(sequence, False, ok)
            elif not last:
                first = last = sequence
            else:
                last = sequence
            if follows:
                self._told = sequence
        if last:
            tell(last, last > first, True)
