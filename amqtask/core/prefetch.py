"""How many deliveries a consumer should hold: many of short tasks, none more than there are slots of long ones.

The prefetch of a consumer cannot be changed; another window means another subscription. So windows are powers of two
times the slots, and change only when the estimate has moved by more than one step.
"""

from dataclasses import dataclass, field

HORIZON = 0.05
"""Seconds of work that may wait behind busy slots."""
LARGEST = 256
"""Deliveries for each slot at the most. Measured: beyond 200 the drain of no-op tasks gains nothing."""
MOST = 2000
"""RabbitMQ's quorum queues take no larger prefetch ("Quorum Queues", use of prefetch)."""
START = 4

_SMOOTHING = 0.2
_ENOUGH = 16
"""Tasks that must have been seen before the window grows; it shrinks at once."""


@dataclass(slots=True)
class _Estimate:
    factor: int
    seconds: float = 0.0
    seen: int = 0


@dataclass(slots=True)
class Governor:
    """Estimates the run times of each queue's tasks and derives the windows."""

    slots: int
    start: int = START
    """Deliveries for each slot while nothing is known of a queue's tasks."""
    ordered: bool = False
    """The order of queues matters: at least 2 for each slot, so that none runs dry between two tasks, and at most 4, so
    that one process does not hold what another should take before the next queue."""
    _queues: dict[str, _Estimate] = field(default_factory=dict)

    def window(self, queue: str) -> int:
        """The prefetch for a queue's consumer now."""
        estimate = self._queues.get(queue)
        return max(1, min(MOST, self.slots * self._factor(estimate)))

    def _factor(self, estimate: _Estimate | None) -> int:
        factor = self.start if estimate is None else estimate.factor
        return max(2, min(4, factor)) if self.ordered else factor

    def ran(self, queue: str, seconds: float) -> bool:
        """A task of this queue ran so long; whether the queue's window is another one now."""
        estimate = self._estimate(queue)
        estimate.seen += 1
        # A long task among short ones counts at once, a short one among long ones only in the average.
        weight = 1.0 if estimate.seen == 1 else _SMOOTHING
        estimate.seconds += (seconds - estimate.seconds) * weight
        wanted = _factor(estimate.seconds)
        if wanted > estimate.factor and (estimate.seen < _ENOUGH or wanted < 4 * estimate.factor < LARGEST):
            return False
        if wanted < estimate.factor and wanted * 4 > estimate.factor and wanted > 1:
            return False
        changed = wanted != estimate.factor
        estimate.factor = wanted
        return changed

    def _estimate(self, queue: str) -> _Estimate:
        estimate = self._queues.get(queue)
        if estimate is None:
            estimate = self._queues[queue] = _Estimate(factor=self.start)
        return estimate

    def stalled(self, queue: str) -> bool:
        """Work of this queue waited behind busy slots: its window becomes the smallest; whether that is a change."""
        estimate = self._estimate(queue)
        changed = estimate.factor != 1
        estimate.factor = 1
        estimate.seen = 0
        return changed


def _factor(seconds: float) -> int:
    """Deliveries for each slot, so that what waits is about HORIZON seconds of work: 1, 2, 4 … LARGEST."""
    if (LARGEST - 1) * seconds <= HORIZON:
        return LARGEST
    factor = 1
    while factor < LARGEST and (factor * 2 - 1) * seconds <= HORIZON:
        factor *= 2
    return factor
