"""Confirms: which publications of a channel the broker has taken; the bare drivers leave that to their user."""


class Confirms:
    """Sequence numbers begin at 1. The broker may confirm out of order, and several with one `multiple`."""

    def __init__(self) -> None:
        self.sent = 0
        self._contiguous = 0
        self._early: set[int] = set()

    def acknowledge(self, tag: int, multiple: bool) -> None:
        if multiple:
            if tag > self._contiguous:
                self._early -= set(range(self._contiguous + 1, tag + 1))
                self._contiguous = tag
        elif tag > self._contiguous:
            self._early.add(tag)
        while self._contiguous + 1 in self._early:
            self._contiguous += 1
            self._early.remove(self._contiguous)

    @property
    def outstanding(self) -> int:
        return self.sent - self._contiguous - len(self._early)
