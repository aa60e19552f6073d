"""The ticker: each due once, in order, whatever the clock does and however often beat is started."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.beat.ticker import Missed, Ticker, Turn
from amqtask.core.crontab import Crontab
from amqtask.core.entry import CatchUp, EntryState, ScheduleEntry
from amqtask.core.schedule import Interval, Once, Schedule

START = datetime(2026, 5, 7, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def entry(schedule: Schedule | timedelta, name: str = "e", **options: object) -> ScheduleEntry:
    if isinstance(schedule, timedelta):
        schedule = Interval(every=schedule)
    return ScheduleEntry(name=name, task="t", schedule=schedule, **options)


class Beat:
    """A ticker with two clocks, which publishes whatever is due and remembers it."""

    def __init__(
        self,
        *entries: ScheduleEntry,
        now: datetime = START,
        chance: Callable[[], float] = lambda: 0.5,
        **options: object,
    ) -> None:
        self.ticker = Ticker(zone=UTC, chance=chance, **options)
        self.now = now
        self.monotonic = 100.0
        self.sent: list[tuple[str, datetime]] = []
        self.missed: list[Missed] = []
        for one in entries:
            self.ticker.put(one, EntryState(since=now), now)

    def look(self) -> Turn:
        turn = self.ticker.turn(self.now, self.monotonic)
        for tick in turn.ticks:
            self.sent.append((tick.entry.name, tick.due))
            self.ticker.sent(tick)
        self.missed += turn.missed
        return turn

    def sleep(self, length: timedelta) -> None:
        self.now += length
        self.monotonic += length.total_seconds()

    def run(self, length: timedelta) -> None:
        """Sleeps and looks whenever it is time, for so long."""
        until = self.now + length
        self.look()
        while (wake := self.ticker.next_wake()) is not None and wake <= until:
            self.sleep(max(wake - self.now, timedelta()))
            self.look()
        self.sleep(until - self.now)

    def dues(self, name: str = "e") -> list[datetime]:
        return [due for sent, due in self.sent if sent == name]

    def state(self, name: str = "e") -> EntryState:
        return {one.name: state for one, state in self.ticker.entries()}[name]


def test_an_entry_is_due_when_its_schedule_says():
    beat = Beat(entry(10 * SECOND))

    beat.run(MINUTE)

    assert beat.dues() == [START + 10 * SECOND * n for n in range(1, 7)]


def test_nothing_is_due_before_its_time():
    beat = Beat(entry(10 * SECOND))

    beat.sleep(10 * SECOND - timedelta(microseconds=1))

    assert beat.look() == Turn(ticks=(), missed=(), step=None)


def test_ticks_of_several_entries_come_in_the_order_of_their_times():
    beat = Beat(entry(3 * SECOND, "three"), entry(2 * SECOND, "two"), entry(Once(at=START + 5 * SECOND), "once"))

    beat.run(6 * SECOND)

    assert [(name, (due - START).seconds) for name, due in beat.sent] == [
        ("two", 2),
        ("three", 3),
        ("two", 4),
        ("once", 5),
        ("three", 6),
        ("two", 6),
    ]


def test_a_state_counts_what_was_sent_and_tells_what_comes():
    beat = Beat(entry(10 * SECOND))

    beat.run(25 * SECOND)

    assert beat.state() == EntryState(since=START, last_run=START + 20 * SECOND, next_run=START + 30 * SECOND, count=2)


def test_what_was_handed_out_but_not_sent_is_not_counted():
    beat = Beat(entry(10 * SECOND))
    beat.sleep(10 * SECOND)

    turn = beat.ticker.turn(beat.now, beat.monotonic)

    assert len(turn.ticks) == 1
    assert beat.state() == EntryState(since=START, last_run=None, next_run=START + 20 * SECOND, count=0)


def test_a_tick_that_was_not_counted_is_due_again_after_a_restart():
    first = Beat(entry(10 * SECOND))
    first.sleep(10 * SECOND)
    lost = first.ticker.turn(first.now, first.monotonic).ticks

    second = Beat(now=first.now)
    second.ticker.put(entry(10 * SECOND), first.state(), first.now)

    assert [tick.id for tick in second.look().ticks] == [tick.id for tick in lost]


def test_a_one_off_is_over_after_its_time():
    beat = Beat(entry(Once(at=START + SECOND)))

    beat.run(MINUTE)

    assert beat.dues() == [START + SECOND]
    assert beat.state().next_run is None
    assert beat.ticker.next_wake() is None


def test_an_entry_that_is_switched_off_is_never_due():
    beat = Beat(entry(SECOND, enabled=False))

    beat.run(MINUTE)

    assert beat.sent == []
    assert beat.state().next_run is None


def test_an_entry_is_due_in_its_own_zone():
    beat = Beat(entry(Crontab.from_string("30 12 * * *"), timezone="Europe/Berlin"))

    beat.run(HOUR)

    assert beat.dues() == [START + HOUR / 2]


def test_a_removed_entry_is_not_due_and_its_last_tick_counts_for_nobody():
    beat = Beat(entry(SECOND))
    beat.sleep(SECOND)
    tick = beat.ticker.turn(beat.now, beat.monotonic).ticks[0]

    beat.ticker.remove("e")
    beat.run(MINUTE)

    assert beat.sent == []
    assert beat.ticker.sent(tick) is None
    with pytest.raises(KeyError):
        beat.ticker.remove("e")


def test_an_entry_that_is_put_again_is_replaced():
    beat = Beat(entry(SECOND))

    beat.ticker.put(entry(10 * SECOND), EntryState(since=START), START)
    beat.run(20 * SECOND)

    assert beat.dues() == [START + 10 * SECOND, START + 20 * SECOND]


def test_edits_leave_nothing_behind_in_the_heap():
    beat = Beat(entry(HOUR))

    for _ in range(10_000):
        beat.ticker.put(entry(HOUR), EntryState(since=START), START)

    assert len(beat.ticker._heap) < 100
    beat.run(HOUR)
    assert beat.dues() == [START + HOUR]


@dataclass(frozen=True, slots=True)
class Counted:
    """A schedule that counts how often it is asked."""

    asked: Counter = field(default_factory=Counter, compare=False)

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        self.asked["next_after"] += 1
        return instant + HOUR

    def anchored(self, origin: datetime) -> "Counted":
        return self

    def describe(self) -> str:
        return "counted"

    def to_dict(self) -> dict[str, object]:
        return {}


def test_ten_thousand_entries_are_not_asked_while_nothing_is_due():
    schedule = Counted()
    beat = Beat(*(entry(schedule, f"e{n}") for n in range(10_000)))
    schedule.asked.clear()

    for _ in range(1000):
        beat.sleep(SECOND)
        beat.look()
        beat.ticker.next_wake()
    assert schedule.asked["next_after"] == 0

    beat.run(HOUR)
    assert len(beat.sent) == 10_000
    assert schedule.asked["next_after"] == 10_000


class TestLate:
    def test_what_is_late_by_less_than_the_grace_is_sent_all_of_it(self):
        for catch_up in CatchUp:
            beat = Beat(entry(SECOND, catch_up=catch_up), grace=10 * SECOND)

            beat.sleep(5 * SECOND)
            beat.look()

            assert beat.dues() == [START + SECOND * n for n in range(1, 6)]
            assert beat.missed == []


class TestAfterAnOutage:
    def outage(self, **options: object) -> Beat:
        beat = Beat(entry(Interval(every=MINUTE, aligned=True), **options))
        beat.sleep(HOUR + 30 * SECOND)
        beat.look()
        return beat

    def test_none_sends_nothing_and_says_what_was_missed(self):
        beat = self.outage(catch_up=CatchUp.NONE)

        assert beat.sent == []
        assert [(missed.first, missed.until > START + HOUR) for missed in beat.missed] == [(START + MINUTE, True)]
        assert beat.state().next_run == START + HOUR + MINUTE

    def test_none_sends_a_tick_that_is_just_due(self):
        beat = Beat(entry(MINUTE, catch_up=CatchUp.NONE))

        beat.sleep(HOUR + SECOND)
        beat.look()

        assert beat.dues() == [START + HOUR]
        assert [(missed.first, missed.until) for missed in beat.missed] == [(START + MINUTE, START + HOUR)]

    def test_last_sends_the_newest(self):
        beat = self.outage(catch_up=CatchUp.LAST)

        assert beat.dues() == [START + HOUR]
        assert [(missed.first, missed.until) for missed in beat.missed] == [(START + MINUTE, START + HOUR)]

    def test_all_sends_all(self):
        beat = self.outage(catch_up=CatchUp.ALL)

        assert beat.dues() == [START + MINUTE * n for n in range(1, 61)]
        assert beat.missed == []

    def test_all_sends_the_newest_up_to_its_limit(self):
        beat = self.outage(catch_up=CatchUp.ALL, catch_up_limit=5)

        assert beat.dues() == [START + MINUTE * n for n in range(56, 61)]
        assert [(missed.first, missed.until) for missed in beat.missed] == [(START + MINUTE, START + 56 * MINUTE)]

    def test_it_goes_on_as_ever(self):
        beat = self.outage(catch_up=CatchUp.LAST)

        beat.run(2 * MINUTE)

        assert beat.dues() == [START + HOUR, START + HOUR + MINUTE, START + HOUR + 2 * MINUTE]

    def test_a_year_of_seconds_is_not_counted_through(self):
        asked = Counter()

        @dataclass(frozen=True, slots=True)
        class Every(Counted):
            def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
                asked["next_after"] += 1
                return Interval(every=SECOND, aligned=True).next_after(instant, zone)

        beat = Beat(entry(Every(), catch_up=CatchUp.ALL, catch_up_limit=3))
        beat.sleep(timedelta(days=365))
        beat.look()

        assert beat.dues() == [beat.now - 2 * SECOND, beat.now - SECOND, beat.now]
        assert asked["next_after"] < 50

    def test_a_one_off_that_was_missed_is_caught_up_with(self):
        beat = Beat(entry(Once(at=START + MINUTE)))

        beat.sleep(timedelta(days=3))
        beat.look()

        assert beat.dues() == [START + MINUTE]

    @settings(deadline=None)
    @given(
        line=st.sampled_from(["* * * * *", "*/7 * * * *", "*/10 3,17 * * *", "0 0 * * mon", "5 4 1 * *", "* 3 * * *"]),
        length=st.timedeltas(MINUTE, timedelta(days=2)),
        limit=st.integers(1, 30),
    )
    def test_the_newest_are_those_that_counting_finds(self, line, length, limit):
        schedule = Crontab.from_string(line)
        counted = []
        due = schedule.next_after(START, UTC)
        while due <= START + length:
            counted.append(due)
            due = schedule.next_after(due, UTC)
        beat = Beat(entry(schedule, catch_up=CatchUp.ALL, catch_up_limit=limit), grace=timedelta())

        beat.sleep(length)
        beat.look()

        on_time = [one for one in counted if one >= START + length]
        assert beat.dues() == (counted if counted == on_time else counted[-limit:])
        assert beat.state().next_run == due


class TestWhenTheClockIsPutBack:
    def test_nothing_is_sent_twice_and_nothing_is_lost(self):
        beat = Beat(entry(MINUTE, "interval"), entry(Crontab.from_string("*/20 * * * *"), "cron"))
        beat.run(HOUR)

        beat.now -= HOUR
        beat.run(2 * HOUR)

        assert beat.dues("interval") == [START + MINUTE * n for n in range(1, 121)]
        assert beat.dues("cron") == [START + 20 * MINUTE * n for n in range(1, 7)]
        assert beat.missed == []

    def test_the_step_is_told_once(self):
        beat = Beat(entry(MINUTE))
        beat.run(HOUR)

        beat.now -= HOUR
        beat.monotonic += 5

        assert beat.look().step == -HOUR - 5 * SECOND
        assert beat.look().step is None

    def test_a_restart_behind_the_last_run_sends_nothing_twice(self):
        first = Beat(entry(MINUTE))
        first.run(HOUR)

        second = Beat(now=START)
        second.ticker.put(entry(MINUTE), first.state(), START)
        second.run(2 * HOUR)

        assert second.dues() == [START + HOUR + MINUTE * n for n in range(1, 61)]

    def test_a_clock_that_was_years_ahead_does_not_stop_the_entries_for_years(self):
        beat = Beat(entry(HOUR))
        beat.sleep(MINUTE)
        beat.look()
        beat.now += timedelta(days=3650)
        beat.look()

        beat.now -= timedelta(days=3650)
        beat.run(3 * HOUR)

        assert beat.dues()[1:] == [START + HOUR, START + 2 * HOUR, START + 3 * HOUR]

    def test_nor_after_a_restart(self):
        beat = Beat()

        beat.ticker.put(entry(HOUR), EntryState(since=START, last_run=START + timedelta(days=3650)), START)
        beat.run(2 * HOUR)

        assert beat.dues() == [START + HOUR, START + 2 * HOUR]


class TestWhenTheClockIsPutForward:
    def test_the_ticks_of_the_hour_are_caught_up_with_once(self):
        beat = Beat(entry(MINUTE, catch_up=CatchUp.ALL))
        beat.run(HOUR)

        beat.now += HOUR
        beat.run(HOUR)

        assert beat.dues() == [START + MINUTE * n for n in range(1, 181)]

    def test_the_step_is_told_once(self):
        beat = Beat(entry(MINUTE))
        beat.run(HOUR)

        beat.now += HOUR

        assert beat.look().step == HOUR
        assert beat.look().step is None

    def test_a_clock_that_drifts_has_not_been_put_anywhere(self):
        beat = Beat(entry(MINUTE))
        beat.look()

        beat.now += HOUR
        beat.monotonic += 3600.5

        assert beat.look().step is None


class TestJitter:
    def test_a_tick_is_late_by_its_share_of_the_jitter_but_named_by_when_it_was_due(self):
        beat = Beat(entry(MINUTE, jitter=20), chance=lambda: 0.25)

        assert beat.ticker.next_wake() == START + MINUTE + 5 * SECOND
        beat.run(MINUTE + 4 * SECOND)
        assert beat.dues() == []
        beat.run(SECOND)
        assert beat.dues() == [START + MINUTE]

    def test_jitter_alone_is_no_outage(self):
        beat = Beat(entry(MINUTE, jitter=3600, catch_up=CatchUp.NONE), chance=lambda: 0.99)

        beat.run(5 * HOUR)

        assert beat.missed == []
        assert beat.dues() == [START + MINUTE * (n + 1) for n in range(len(beat.dues()))]
        assert len(beat.dues()) > 200

    def test_a_tick_waits_for_its_own_jitter_when_that_is_longer_than_the_interval(self):
        beat = Beat(entry(MINUTE, jitter=120), chance=lambda: 0.75)
        waited = []

        for _ in range(5):
            beat.sleep(beat.ticker.next_wake() - beat.now)
            waited += [beat.now - tick.due for tick in beat.look().ticks]

        assert waited == [90 * SECOND] * 5

    def test_each_tick_has_its_own(self):
        chances = iter([0.0, 0.5, 1.0])
        ticker = Ticker(zone=UTC, chance=lambda: next(chances))
        ticker.put(entry(HOUR, jitter=60), EntryState(since=START), START)

        wakes = []
        for _ in range(3):
            wakes.append(ticker.next_wake())
            if len(wakes) < 3:
                ticker.turn(wakes[-1], 0)

        assert wakes == [START + HOUR, START + 2 * HOUR + MINUTE / 2, START + 3 * HOUR + MINUTE]


@settings(max_examples=60, deadline=None)
@given(
    every=st.integers(1, 90),
    jitter=st.sampled_from([0, 3, 100]),
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.sampled_from(["run", "restart", "back", "forward"]), st.integers(1, 400)), max_size=30),
)
def test_whatever_happens_each_due_is_sent_once(every, jitter, seed, steps):
    """Beats die and start anew with the state that was kept, clocks are put back and forward: the account is exact."""
    chance = random.Random(seed).random
    what = entry(every * SECOND, catch_up=CatchUp.ALL, catch_up_limit=10**6, jitter=jitter)
    beat = Beat(what, chance=chance)
    sent: list[datetime] = []
    for step, seconds in steps:
        if step == "run":
            beat.run(seconds * SECOND)
        elif step == "restart":
            sent += beat.dues()
            state, now = beat.state(), beat.now + seconds * SECOND
            beat = Beat(now=now, chance=chance)
            beat.ticker.put(what, state, now)
        else:
            beat.now += seconds * SECOND if step == "forward" else -seconds * SECOND
    highest = max([beat.now, *sent, *beat.dues()])
    beat.run(highest - beat.now + 200 * SECOND)
    sent += beat.dues()

    assert sent == [START + every * SECOND * n for n in range(1, len(sent) + 1)]
    assert sent == [] or sent[-1] > highest + 200 * SECOND - (every + jitter + 1) * SECOND
