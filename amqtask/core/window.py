"""The window of unsettled deliveries of one channel: which tags may be acknowledged together.

`basic.ack(multiple)` settles its tag and all before it, so tags that finished out of order behind a running one are
acknowledged one by one.
"""

import collections
from collections.abc import Iterator


class Window:
    """Tags of one channel, in the order in which they came."""

    def __init__(self) -> None:
        self._order: collections.deque[int] = collections.deque()
        self._acked: set[int] = set()
        self._settled: set[int] = set()

    def __len__(self) -> int:
        """How many deliveries the broker counts as unacknowledged."""
        return len(self._order) - len(self._settled)

    @property
    def pending(self) -> int:
        """How many are finished and not yet acknowledged to the broker."""
        return len(self._acked)

    def open(self, tag: int) -> None:
        """A delivery came. Tags of a channel grow (AMQP 0-9-1 §1.8.3.13)."""
        self._order.append(tag)

    def ack(self, tag: int) -> None:
        """This one is done; `flush` tells the broker."""
        self._acked.add(tag)

    def settle(self, tag: int) -> None:
        """This one was rejected or handed back, which the broker was told already."""
        self._settled.add(tag)
        self._trim()

    def flush(self) -> Iterator[tuple[int, bool]]:
        """The acknowledgements to send now: (tag, multiple)."""
        order, acked, settled = self._order, self._acked, self._settled
        if not acked:
            return
        last = 0
        count = 0
        while order:
            tag = order[0]
            if tag in acked:
                acked.discard(tag)
                last = tag
                count += 1
            elif tag in settled:
                settled.discard(tag)
            else:
                break
            order.popleft()
        if count:
            yield last, count > 1
        for tag in sorted(acked):
            settled.add(tag)
            yield tag, False
        acked.clear()

    def clear(self) -> None:
        """The channel is gone: nothing of it can be settled any more."""
        self._order.clear()
        self._acked.clear()
        self._settled.clear()

    def _trim(self) -> None:
        while self._order and self._order[0] in self._settled:
            self._settled.discard(self._order.popleft())
