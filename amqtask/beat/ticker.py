"""Ticker: which entries are due, as a pure heap. It is told what time it is and never asks.

The instant that an entry was due at names the tick for good: the id of its message is made of it, and it is passed
once only. So a clock that is put back by an hour sends nothing twice: entries wait until it has caught up with what
was sent. A clock that is put forward finds the ticks of that hour missed, as after an outage. (A clock that went back
by more than `max_step` had been wrong rather than corrected: entries are planned anew from the time it shows.)

Late is not missed. What comes late by at most `grace`, as when another beat takes over or the process was busy, is
sent whatever the entry says. Only where an older tick is open was there an outage, and `catch_up` decides.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from amqtask.core.entry import CatchUp, EntryState, ScheduleEntry, tick_id
from amqtask.core.schedule import Schedule

_TICK = timedelta(microseconds=1)
# Below it, a difference between the two clocks is slewing, or the time that passed between reading one and the other.
_STEP = timedelta(seconds=1)
_SPARE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One time at which an entry is due. `due` is in UTC."""

    entry: ScheduleEntry
    due: datetime

    @property
    def id(self) -> str:
        return tick_id(self.entry.name, self.due)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """The ticks of an entry that an outage cost: those due from `first` on and before `until`."""

    entry: ScheduleEntry
    first: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one look at the clock brought. `step` is by how much the clock was put forward (or back: negative)."""

    ticks: tuple[Tick, ...]
    missed: tuple[Missed, ...]
    step: timedelta | None


@dataclass(slots=True)
class _Plan:
    entry: ScheduleEntry
    state: EntryState
    schedule: Schedule
    zone: tzinfo
    serial: int = 0

    def after(self, instant: datetime) -> datetime | None:
        return self.schedule.next_after(instant, self.zone)


class Ticker:
    """Entries in the order in which they are due.

    Adding, removing and sending an entry cost O(log n), a look at the clock when nothing is due O(1). `chance` gives a
    number from 0 to 1 for each tick of an entry with jitter. Not safe for use from several threads.
    """

    def __init__(
        self,
        *,
        zone: tzinfo,
        chance: Callable[[], float],
        grace: timedelta = timedelta(seconds=10),
        max_step: timedelta = timedelta(days=1),
    ) -> None:
        self._zone = zone
        self._chance = chance
        self._grace = grace
        self._max_step = max_step
        self._plans: dict[str, _Plan] = {}
        # (when to send, serial of the plan, name): an item whose serial is not its plan's any more is void.
        self._heap: list[tuple[datetime, int, str]] = []
        self._serial = 0
        self._seen: tuple[datetime, float] | None = None

    def put(self, entry: ScheduleEntry, state: EntryState, now: datetime) -> EntryState:
        """Adds an entry or replaces the one of this name; the state that comes back says when it runs next.

        Raises what the schedule's `next_after` raises.
        """
        plan = _Plan(entry, state, entry.schedule.anchored(state.since), entry.zone(self._zone))
        base = max(state.since, state.last_run or state.since)
        due = plan.after(now if base - now > self._max_step else base) if entry.enabled else None
        self._plans[entry.name] = plan
        self._schedule(plan, due)
        if len(self._heap) > 2 * len(self._plans) + _SPARE:
            self._sweep()
        return plan.state

    def remove(self, name: str) -> None:
        """Forgets an entry. Raises `KeyError` where there is none of this name."""
        del self._plans[name]

    def entries(self) -> list[tuple[ScheduleEntry, EntryState]]:
        return [(plan.entry, plan.state) for plan in self._plans.values()]

    def next_wake(self) -> datetime | None:
        """The instant of the next `turn` that has something to do; None when nothing will be due."""
        while self._heap and self._is_void(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def turn(self, now: datetime, monotonic: float) -> Turn:
        """What is to be sent now. `monotonic` is a clock that is never put back or forward, in seconds.

        Each tick is handed out once; `sent` must follow for it to count.
        """
        step = self._step(now, monotonic)
        if step is not None and -step > self._max_step:
            for plan in self._plans.values():
                self._schedule(plan, plan.after(now) if plan.entry.enabled else None)
        ticks: list[Tick] = []
        missed: list[Missed] = []
        while (wake := self.next_wake()) is not None and wake <= now:
            plan = self._plans[heapq.heappop(self._heap)[2]]
            first = plan.state.next_run
            assert first is not None  # what is in the heap has a next run
            latest = max(first, now - timedelta(seconds=plan.entry.jitter))
            dues, next_run = self._open(plan, first, latest, now)
            ticks += [Tick(entry=plan.entry, due=due) for due in dues]
            if not dues or dues[0] != first:
                missed.append(Missed(entry=plan.entry, first=first, until=dues[0] if dues else latest + _TICK))
            self._schedule(plan, next_run)
        return Turn(ticks=tuple(ticks), missed=tuple(missed), step=step)

    def sent(self, tick: Tick) -> EntryState | None:
        """Counts a tick that the broker has taken; the entry's new state, or None when it has been removed since."""
        plan = self._plans.get(tick.entry.name)
        if plan is None:
            return None
        last_run = max(tick.due, plan.state.last_run or tick.due)
        plan.state = replace(plan.state, last_run=last_run, count=plan.state.count + 1)
        return plan.state

    def _open(
        self, plan: _Plan, first: datetime, latest: datetime, now: datetime
    ) -> tuple[list[datetime], datetime | None]:
        """The dues from `first` to `latest` that are to be sent, and the first one after `latest`."""
        on_time = now - timedelta(seconds=plan.entry.jitter) - self._grace
        if first >= on_time:
            return _collect(plan, first, latest)
        limit = plan.entry.catch_up_limit if plan.entry.catch_up is CatchUp.ALL else 1
        dues, next_run = _newest(plan, first, latest, limit)
        if plan.entry.catch_up is CatchUp.NONE:
            dues = [due for due in dues if due >= on_time]
        return dues, next_run

    def _schedule(self, plan: _Plan, due: datetime | None) -> None:
        self._serial += 1
        plan.serial = self._serial
        plan.state = replace(plan.state, next_run=due)
        if due is not None:
            late = timedelta(seconds=plan.entry.jitter * self._chance()) if plan.entry.jitter else timedelta()
            heapq.heappush(self._heap, (due + late, plan.serial, plan.entry.name))

    def _step(self, now: datetime, monotonic: float) -> timedelta | None:
        seen, self._seen = self._seen, (now, monotonic)
        if seen is None:
            return None
        step = (now - seen[0]) - timedelta(seconds=monotonic - seen[1])
        return step if abs(step) >= _STEP else None

    def _is_void(self, item: tuple[datetime, int, str]) -> bool:
        plan = self._plans.get(item[2])
        return plan is None or plan.serial != item[1]

    def _sweep(self) -> None:
        self._heap = [item for item in self._heap if not self._is_void(item)]
        heapq.heapify(self._heap)


def _collect(
    plan: _Plan, due: datetime | None, latest: datetime, keep: int | None = None
) -> tuple[list[datetime], datetime | None]:
    """The dues from this one to `latest`, the newest `keep` of them, and the first one after `latest`."""
    dues: deque[datetime] = deque(maxlen=keep)
    while due is not None and due <= latest:
        dues.append(due)
        due = plan.after(due)
    return list(dues), due


def _newest(plan: _Plan, first: datetime, latest: datetime, limit: int) -> tuple[list[datetime], datetime | None]:
    """As `_collect`, but a year of minutes is not counted through.

    A schedule only looks forward. So this looks at a span before `latest` that would do if the dues were as far apart
    as the first ones, and doubles it until enough are in it.
    """
    sample: list[datetime] = []
    due: datetime | None = first
    while due is not None and due <= latest and len(sample) <= limit:
        sample.append(due)
        due = plan.after(due)
    if len(sample) <= limit:
        return sample, due
    # More than `limit` are known to exist, so that this ends, and nothing before `first` is among the newest.
    span = sample[-1] - sample[0]
    while True:
        dues, following = _collect(plan, plan.after(latest - span), latest, keep=limit)
        if len(dues) == limit:
            return dues, following
        span *= 2
