"""Flow: keeps deliveries where a slot is free for them soon.

It governs the consumers' prefetch by the run times of the queues' tasks. When work waits while no slot becomes free, it
hands the work back for other processes, and takes no more until a slot is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amqtask.clock import Clock
from amqtask.core.prefetch import Governor
from amqtask.executors.base import Executor
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session
from amqtask.worker.consumer import Consumer
from amqtask.worker.execution import Execution

logger = get_logger("flow")

REST = 0.01
"""Seconds for which nothing is read while enough waits; whoever settles a batch ends it sooner."""
RESTFUL = 8
"""Verdicts that must be told together for a rest to be worth it: with fewer, tasks are long beside a wake-up."""

MOST_HAND_BACKS = 4
"""How often a message goes back at the most, where the broker counts it.

From 4.0 to 4.2 every requeue counts towards the delivery limit of 20 that a quorum queue has by default ("Quorum
Queues", poison message handling).
"""


SHRINK_AFTER = 0.2
"""Seconds for which a smaller window must be wanted: a machine that is busy makes single short tasks look long."""
GROW_EVERY = 1.0
"""Seconds between a change of a window and its growth.

Each change is another consumer, and what the one before was given is still to be done.
"""
LOOK_AGAIN = 0.05
"""Seconds after which it is looked again whether the consumers before have been served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """`fixed` are the prefetches that the configuration gives by queue; `hand_back_after` is seconds."""

    fixed: Mapping[str, int] = field(default_factory=dict)
    hand_back_after: float = 0.5


class Flow:
    """Decides about prefetch and hand-backs for one node."""

    def __init__(
        self,
        options: FlowOptions,
        *,
        governor: Governor,
        executor: Executor,
        clock: Clock,
        hand_back: Callable[[Execution], None],
        submit: Callable[[Execution], None],
    ) -> None:
        self._options = options
        self._governor = governor
        self._executor = executor
        self._clock = clock
        self._hand_back = hand_back
        self._submit = submit
        self._last_start = 0.0
        self._waiting_since = NEVER
        self._consumer: Consumer | None = None
        self._session: Session | None = None
        self._wanted_since: dict[str, float] = {}
        """Queues whose window should be another one, and since when."""
        self._resized: dict[str, float] = {}

    def attach(self, consumer: Consumer, session: Session) -> None:
        """Give it the parts that are made after it."""
        self._consumer = consumer
        self._session = session

    def window(self, queue: str) -> int:
        """The prefetch for a queue's consumer now."""
        fixed = self._options.fixed.get(queue)
        return self._governor.window(queue) if fixed is None else fixed

    def started(self, now: float) -> None:
        """An execution got a slot. From its thread."""
        self._last_start = now

    def ended(self, queue: str, runtime: float) -> None:
        """An execution gave back its slot. From its thread."""
        consumer, session = self._consumer, self._session
        if consumer is None or session is None:
            return
        if consumer.paused:
            session.call_soon(consumer.resume)
        if queue not in self._options.fixed and self._governor.ran(queue, runtime):
            self._wanted_since.setdefault(queue, self._clock.monotonic())
            session.wake()

    def turn(self, now: float) -> float:
        """Change windows, hand back what waits too long; when to look again. From the session's thread."""
        return min(self._resize(now), self._relieve(now))

    def _resize(self, now: float) -> float:
        consumer, due = self._consumer, NEVER
        if consumer is None:
            return NEVER
        for queue in list(self._wanted_since):
            # Before the window is looked at: what changes it meanwhile says so again.
            since = self._wanted_since.pop(queue)
            subscriptions = consumer.queues
            window = self._governor.window(queue)
            if queue not in subscriptions or subscriptions[queue].prefetch == window:
                continue
            if window < subscriptions[queue].prefetch:
                at = since + SHRINK_AFTER
            elif consumer.unsettled > sum(subscription.prefetch for subscription in subscriptions.values()):
                at = now + LOOK_AGAIN
            else:
                at = self._resized.get(queue, -NEVER) + GROW_EVERY
            if at <= now:
                self._resized[queue] = now
                consumer.resize(queue, window)
            else:
                self._wanted_since.setdefault(queue, since)
                due = min(due, at)
        return due

    def _relieve(self, now: float) -> float:
        waiting = self._executor.waiting()
        if not waiting:
            self._waiting_since = NEVER
            return NEVER
        consumer, session = self._consumer, self._session
        # At the end of the rest at least a batch still waits: no slot stays empty while the next ones are read.
        if consumer is not None and session is not None and waiting >= 2 * consumer.batch >= 2 * RESTFUL:
            session.rest(REST)
        self._waiting_since = min(self._waiting_since, now)
        due = max(self._waiting_since, self._last_start) + self._options.hand_back_after
        if now < due:
            return due
        self._waiting_since = now
        self._stall()
        return now + self._options.hand_back_after

    def _stall(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        consumer.pause()
        back = kept = 0
        for item in self._executor.drain():
            assert isinstance(item, Execution), "only executions are submitted"
            counted = max(item.request.delivery_count or 0, item.request.acquired_count or 0)
            if counted >= MOST_HAND_BACKS:
                kept += 1
                self._submit(item)
                continue
            back += 1
            self._hand_back(item)
        for queue in consumer.queues:
            if queue not in self._options.fixed and self._governor.stalled(queue):
                consumer.resize(queue, self._governor.window(queue))
        logger.debug("all slots stay busy: %d messages go back, %d stay", back, kept, extra=event("handed-back"))
