"""The fold of beat's log: what counts, whoever wrote it and from wherever it is read."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amqtask.beat.book import Book, Kept
from amqtask.beat.log import Log
from amqtask.core.entry import EntryState
from amqtask.errors import InvalidSchedule

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def kept(count: int) -> Kept:
    return Kept(state=EntryState(since=NOON, count=count), plan="plan")


def read(*records: bytes) -> Log:
    log = Log()
    for record in records:
        log.apply(record)
    return log


def test_the_first_take_of_an_epoch_holds_it():
    log = read(Log.take("1", 1, "a"), Log.take("2", 1, "b"))

    assert log.holds(1, "a")
    assert not log.holds(1, "b")


def test_the_id_of_a_record_is_told():
    assert Log().apply(Log.take("mark", 1, "a")) == "mark"


def test_states_of_the_holder_count():
    log = read(Log.take("1", 1, "a"), Log.states("2", 1, "a", {"one": kept(1), "two": kept(2)}))
    log.apply(Log.states("3", 1, "a", {"one": kept(3), "two": None}))

    assert log.book() == Book(states={"one": kept(3)})


def test_states_of_one_who_was_followed_do_not_count():
    log = read(
        Log.take("1", 1, "a"),
        Log.take("2", 2, "b"),
        Log.states("3", 2, "b", {"one": kept(2)}),
        Log.states("4", 1, "a", {"one": kept(1)}),
    )

    assert log.book().states == {"one": kept(2)}


def test_states_of_one_who_was_too_late_do_not_count():
    log = read(Log.take("1", 1, "a"), Log.take("2", 1, "b"), Log.states("3", 1, "b", {"one": kept(1)}))

    assert log.book() == Book()


def test_where_the_take_was_cut_off_states_tell_the_epoch():
    log = read(Log.states("9", 7, "g", {"one": kept(1)}))

    assert log.holds(7, "g")
    assert log.book().states == {"one": kept(1)}


def test_edits_count_whoever_leads():
    log = read(Log.patch("1", "one", {"enabled": False}), Log.take("2", 1, "a"), Log.patch("3", "one", {"jitter": 1}))

    assert log.book().edits == {"one": {"enabled": False, "jitter": 1}}


def test_a_copy_that_was_begun_before_an_edit_does_not_undo_it():
    log = read(Log.take("1", 1, "a"), Log.patch("2", "one", {"enabled": False}), Log.patch("3", "two", {"jitter": 1}))
    copies = list(log.copies())
    log.apply(Log.patch("4", "one", {"enabled": True}))
    log.apply(Log.patch("5", "two", None))

    for copy in copies:
        log.apply(copy)

    assert log.book().edits == {"one": {"enabled": True}}


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff", b"[1]", b"null", b'{"x": 1}'])
def test_a_strangers_record_is_passed_over(body):
    log = read(Log.take("1", 1, "a"), Log.states("2", 1, "a", {"one": kept(1)}))
    before = log.book()

    assert log.apply(body) == ""
    assert log.book() == before


def test_a_later_version_is_refused():
    with pytest.raises(InvalidSchedule, match="version 2"):
        Log().apply(json.dumps({"v": 2, "id": "x"}).encode())


names = st.sampled_from(["one", "two", "three"])
patches = st.none() | st.dictionaries(st.sampled_from(["enabled", "jitter"]), st.integers(0, 3), max_size=2)
records = st.one_of(
    st.builds(lambda epoch, by: Log.take("t", epoch, by), st.integers(1, 4), st.sampled_from("abc")),
    st.builds(
        lambda epoch, by, name, count: Log.states("s", epoch, by, {name: None if count == 0 else kept(count)}),
        st.integers(1, 4),
        st.sampled_from("abc"),
        names,
        st.integers(0, 9),
    ),
    st.builds(lambda name, patch: Log.patch("p", name, patch), names, patches),
)


@given(st.lists(records), st.lists(records))
def test_whoever_begins_at_a_copy_reads_the_same_as_who_has_read_all(before, after):
    log = read(*before)
    copies = list(log.copies())
    for copy in copies:
        log.apply(copy)

    assume(copies)
    late = read(*copies)
    for record in after:
        log.apply(record)
        late.apply(record)

    assert (late.epoch, late.holder) == (log.epoch, log.holder)
    assert late.book() == log.book()
