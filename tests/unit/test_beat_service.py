"""What a leading beat does with its ticks: lanes, refusals, edits. Clock, broker and store are the test's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from amqtask.beat.agenda import FORGET_AFTER, Agenda
from amqtask.beat.book import Book, Kept
from amqtask.beat.keeper import Keeper
from amqtask.beat.outlet import Outlet
from amqtask.beat.service import STORE_PATIENCE, Service
from amqtask.beat.telling import Telling
from amqtask.beat.ticker import Tick
from amqtask.core.entry import EntryState, ScheduleEntry, entry_from_dict
from amqtask.core.message import Envelope
from amqtask.drivers.base import Connection
from amqtask.errors import ConnectionLost, PublishNacked, Unroutable
from amqtask.publisher import Ticket
from amqtask.session import NEVER

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = START
        self.wrong_by = timedelta()
        """What people have done to the clock on the wall."""

    def time(self) -> float:
        return (self.now + self.wrong_by).timestamp()

    def monotonic(self) -> float:
        return (self.now - START).total_seconds()


class Broker:
    """An outlet whose confirms the test gives."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Callable[[Exception | None], None]]] = []
        self.blocked: str | None = None
        self.is_open = False

    @property
    def waiting(self) -> int:
        return len(self.written)

    def open(self, connection: Connection) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        self.written.clear()

    def send(self, ticket: Ticket, done: Callable[[Exception | None], None]) -> None:
        self.written.append((str(ticket.envelope.message_id), done))


class Shelf:
    """A keeper that keeps in memory and answers at once."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.epoch = 0
        self.is_dumb = False

    def take_over(self, done: Callable[[int, Book], None], wanted: Callable[[], bool]) -> None:
        self.epoch += 1
        if not self.is_dumb:
            done(self.epoch, self.book)

    def load(self, done: Callable[[Book], None], wanted: Callable[[], bool]) -> None:
        done(self.book)

    def save(self, epoch: int, states: dict[str, Kept | None]) -> None:
        kept = {**self.book.states, **states}
        self.book = Book(
            states={name: state for name, state in kept.items() if state is not None}, edits=self.book.edits
        )


class Rig:
    """A service and its surroundings."""

    def __init__(self, *entries: ScheduleEntry, book: Book | None = None) -> None:
        self.clock, self.broker, self.shelf = HandClock(), Broker(), Shelf(book or Book())
        self.posted: list[tuple[Tick, str]] = []
        self.post_error: Exception | None = None
        self.service = Service(
            new_agenda=lambda: Agenda(
                {entry.name: entry for entry in entries}, zone=UTC, grace=10 * SECOND, max_step=timedelta(days=1)
            ),
            clock=self.clock,
            outlet=cast(Outlet, self.broker),
            keeper=cast(Keeper, self.shelf),
            post=self._post,
            telling=Telling(self.clock),
            call_soon=lambda call: call(),
        )

    def _post(self, tick: Tick, copy: str, send: Callable[[Ticket], None]) -> None:
        if self.post_error is not None:
            raise self.post_error
        self.posted.append((tick, copy))
        send(Ticket(Envelope(body=b"", message_id=tick.id), "", "lo", deadline=NEVER))

    def lead(self) -> None:
        self.service.elected(cast(Connection, None))

    def pass_time(self, length: timedelta) -> float:
        """Let time pass and take a turn; in how many seconds the next one is wanted."""
        self.clock.now += length
        now = self.clock.monotonic()
        return self.service.turn(now) - now

    def answer(self, error: Exception | None = None) -> None:
        """The broker confirms, or refuses, all that it was given."""
        written, self.broker.written = self.broker.written, []
        for _, done in written:
            done(error)

    def edit(self, **edits: dict[str, object]) -> None:
        self.shelf.book = Book(states=self.shelf.book.states, edits=edits)
        self.service.nudged()

    def dues(self) -> list[int]:
        """The due times of what was handed to the broker, in seconds from the start."""
        return [round((tick.due - START).total_seconds()) for tick, _ in self.posted]

    def state(self, name: str = "one") -> EntryState:
        return self.shelf.book.states[name].state


def entry(name: str = "one", **keys: object) -> ScheduleEntry:
    return entry_from_dict({"name": name, "task": "t", "schedule": 1, "catch_up": "all", **keys})


def test_a_beat_without_the_lead_sends_nothing():
    rig = Rig(entry())

    assert rig.pass_time(100 * SECOND) == NEVER
    assert rig.posted == []


def test_a_tick_counts_once_it_is_confirmed():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)
    assert rig.state().count == 0

    rig.answer()

    assert (rig.state().count, rig.state().last_run) == (1, START + SECOND)


def test_it_sleeps_until_the_next_tick():
    rig = Rig(entry(schedule=20))
    rig.lead()

    assert rig.pass_time(5 * SECOND) == pytest.approx(15)


def test_it_looks_at_the_clock_now_and_then():
    rig = Rig(entry(schedule=86_400))
    rig.lead()

    assert rig.pass_time(5 * SECOND) == pytest.approx(30)


def test_the_ticks_of_an_entry_wait_for_each_other_and_not_for_those_of_others():
    rig = Rig(entry(), entry("two"))
    rig.lead()
    rig.pass_time(SECOND)
    rig.pass_time(SECOND)
    assert rig.dues() == [1, 1]

    rig.answer()
    rig.pass_time(timedelta())

    assert rig.dues() == [1, 1, 2, 2]


@pytest.mark.parametrize("error", [Unroutable(), PublishNacked()], ids=str)
def test_a_refused_tick_is_tried_again_as_another_copy_before_later_ones(error):
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)
    rig.answer(error)
    assert rig.state().count == 0

    rig.pass_time(2 * SECOND)
    rig.answer()
    rig.pass_time(timedelta())
    rig.answer()

    assert rig.dues() == [1, 1, 2]
    (first, copy), (second, other), *_ = rig.posted
    assert first.id == second.id
    assert copy != other
    assert rig.state().count == 2
    assert rig.service.counters.refused == 1


def test_a_call_that_cannot_be_made_is_refused():
    rig = Rig(entry())
    rig.lead()
    rig.post_error = TypeError("no such argument")
    rig.pass_time(SECOND)
    rig.post_error = None

    rig.pass_time(SECOND)

    assert rig.dues() == [1]


def test_of_ticks_that_pile_up_behind_a_refused_one_the_newest_are_kept():
    rig = Rig(entry(catch_up="last"))
    rig.lead()
    for _ in range(5):
        rig.pass_time(SECOND / 2)
        rig.answer(Unroutable())
        rig.pass_time(SECOND / 2)
        rig.answer(Unroutable())
    rig.pass_time(30 * SECOND)
    before = len(rig.posted)

    rig.answer()
    rig.pass_time(timedelta())
    rig.answer()

    assert len(rig.posted) - before <= 1
    assert rig.service.counters.missed > 0
    assert rig.state().last_run is not None
    assert rig.state().last_run > START + 4 * SECOND


def test_nothing_is_written_while_the_broker_takes_nothing():
    rig = Rig(entry())
    rig.lead()
    rig.broker.blocked = "low on memory"
    rig.pass_time(2 * SECOND)
    assert rig.posted == []

    rig.broker.blocked = None
    rig.pass_time(timedelta())

    assert rig.dues() == [1]


def test_an_answer_of_an_earlier_term_does_not_count():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)
    (_, late), *_ = rig.broker.written

    rig.service.deposed()
    rig.lead()
    late(None)

    assert rig.state().count == 0
    rig.pass_time(timedelta())
    assert rig.dues() == [1, 1]


def test_what_was_due_while_nobody_led_comes_after_the_election():
    first = Rig(entry())
    first.lead()
    first.pass_time(SECOND)
    first.answer()

    second = Rig(entry(), book=first.shelf.book)
    second.clock.now = START + 4 * SECOND
    second.lead()
    for _ in range(4):
        second.pass_time(timedelta())
        second.answer()

    assert second.dues() == [2, 3, 4]


def test_an_edit_takes_effect_at_once_and_what_is_on_its_way_is_not_sent_twice():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)

    rig.edit(one={"args": [1]})
    rig.pass_time(timedelta())
    assert rig.dues() == [1]
    rig.answer()
    rig.pass_time(SECOND)

    assert rig.dues() == [1, 2]
    assert rig.posted[-1][0].entry.args == (1,)


def test_an_edit_heals_a_tick_that_is_refused():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)
    rig.answer(Unroutable())

    rig.edit(one={"options": {"queue": "hi"}})
    rig.pass_time(timedelta())
    rig.answer()
    rig.pass_time(5 * SECOND)

    assert rig.posted[1][0].entry.options == {"queue": "hi"}
    assert rig.dues()[:3] == [1, 1, 2]
    assert rig.state().count == 1


def test_a_paused_entry_rests_and_is_not_made_up_for():
    rig = Rig(entry())
    rig.lead()
    rig.edit(one={"enabled": False})
    rig.pass_time(10 * SECOND)
    assert rig.posted == []

    rig.edit()
    rig.pass_time(SECOND)

    assert rig.dues() == [11]


def test_entries_come_and_go():
    rig = Rig(entry())
    rig.lead()
    rig.edit(one={"removed": True}, two={"task": "t", "schedule": {"every": 1}})
    rig.pass_time(SECOND)

    assert [tick.entry.name for tick, _ in rig.posted] == ["two"]


def test_an_entry_that_cannot_be_planned_keeps_none_of_the_others_from_it():
    rig = Rig(entry("broken", schedule={"rrule": "FREQ=DAILY;BYHOUR=99"}), entry())
    rig.lead()
    rig.pass_time(SECOND)

    assert [tick.entry.name for tick, _ in rig.posted] == ["one"]


def test_states_that_nobody_needs_any_more_are_forgotten_after_a_while():
    old, new = START - FORGET_AFTER - SECOND, START - FORGET_AFTER + SECOND
    states = {name: Kept(state=EntryState(since=since), plan="p") for name, since in (("old", old), ("new", new))}
    rig = Rig(entry(), book=Book(states=states))
    rig.lead()

    assert set(rig.shelf.book.states) == {"one", "new"}


def test_a_beat_that_ends_begins_nothing_new():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND)
    rig.service.finish()
    rig.pass_time(SECOND)
    assert rig.service.unfinished

    rig.answer()

    assert not rig.service.unfinished
    assert rig.dues() == [1]
    assert rig.state().count == 1


def test_a_fenced_beat_gives_its_connection_up():
    rig = Rig(entry())
    rig.service.fenced()
    rig.lead()

    with pytest.raises(ConnectionLost):
        rig.service.fenced()


def test_ten_thousand_ticks_at_once_leave_time_for_the_connection():
    rig = Rig(*(entry(f"entry-{number}") for number in range(1000)))
    rig.lead()

    turns = 0
    while rig.pass_time(SECOND if turns == 0 else timedelta()) == 0:
        turns += 1
        rig.answer()

    assert len(rig.posted) == 1000
    assert turns >= 4


def test_the_latest_tick_is_known():
    rig = Rig(entry())
    rig.lead()
    rig.pass_time(SECOND * 1.5)

    assert rig.service.counters.latest == pytest.approx(0.5)


def test_a_beat_whose_store_does_not_answer_lets_another_have_a_try():
    rig = Rig(entry())
    rig.shelf.is_dumb = True
    rig.lead()
    assert rig.pass_time(SECOND) == pytest.approx(STORE_PATIENCE - 1)

    with pytest.raises(ConnectionLost):
        rig.pass_time(STORE_PATIENCE * SECOND)


@pytest.mark.parametrize(
    ("step", "words"), [(3600, "put forward by 3600.0 s"), (-3600, "put back by 3600.0 s")], ids=["forward", "back"]
)
def test_a_clock_that_was_set_is_told_and_sends_nothing_twice(step, words, caplog):
    rig = Rig(entry())
    rig.lead()
    for _ in range(3):
        rig.pass_time(SECOND)
        rig.answer()

    rig.clock.wrong_by = step * SECOND
    for _ in range(3):
        rig.pass_time(SECOND)
        rig.answer()

    assert [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert len(set(rig.dues())) == len(rig.dues())
