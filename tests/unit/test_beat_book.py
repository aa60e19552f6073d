"""What beat remembers, and the edits on top of what is defined."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.beat.book import Kept, merged, patched, resume
from amqtask.core.entry import EntryState, entry_from_dict
from amqtask.errors import InvalidSchedule

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def entry(**keys: object):
    return entry_from_dict({"name": "report", "task": "build", "schedule": {"every": 60}, **keys})


instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))


@given(instants, st.none() | instants, st.none() | instants, st.integers(0, 2**53), st.text())
def test_a_state_survives_its_short_form(since, last_run, next_run, count, plan):
    kept = Kept(state=EntryState(since=since, last_run=last_run, next_run=next_run, count=count), plan=plan)

    assert Kept.from_json(kept.to_json()) == kept


@pytest.mark.parametrize("form", [None, [], [1, 2, 3, 4], ["now", None, None, 0, "p"], [1, None, None, "0", "p"]])
def test_what_is_no_state_is_refused(form):
    with pytest.raises(InvalidSchedule):
        Kept.from_json(form)


def test_a_new_entry_begins_now():
    assert resume(entry(), None, NOON).state == EntryState(since=NOON)


def test_an_entry_goes_on_with_its_state():
    kept = resume(entry(), None, NOON)

    assert resume(entry(args=[1], jitter=3), kept, LATER) == kept


@pytest.mark.parametrize(
    "keys", [{"schedule": {"every": 61}}, {"timezone": "Europe/Berlin"}, {"enabled": False}], ids=str
)
def test_another_plan_begins_anew_and_remembers_what_ran(keys):
    ran = EntryState(since=NOON, last_run=NOON, next_run=LATER, count=7)
    kept = Kept(state=ran, plan=resume(entry(), None, NOON).plan)

    assert resume(entry(**keys), kept, LATER).state == EntryState(since=LATER, last_run=NOON, count=7)


def test_an_edit_beats_what_is_defined():
    entries, problems = merged({"report": entry(args=[1])}, {"report": {"enabled": False, "jitter": 2}})

    assert entries == {"report": entry(args=[1], enabled=False, jitter=2)}
    assert problems == {}


def test_an_entry_of_an_edit_alone_is_added():
    entries, _ = merged({}, {"report": {"task": "build", "schedule": {"every": 60}}})

    assert entries == {"report": entry()}


def test_a_removed_entry_is_hidden():
    assert merged({"report": entry()}, {"report": {"removed": True}}) == ({}, {})


def test_an_edit_that_does_not_fit_any_more_is_left_out_and_said():
    entries, problems = merged({"other": entry(name="other")}, {"report": {"enabled": False}})

    assert list(entries) == ["other"]
    assert "task" in problems["report"]


def test_null_takes_a_key_back_to_its_default():
    entries, _ = merged({"report": entry(timezone="Europe/Berlin", expires=5)}, {"report": {"timezone": None}})

    assert entries == {"report": entry(expires=5)}


def test_patches_lie_on_top_of_each_other_and_none_takes_all_away():
    overlay = patched(None, {"jitter": 1, "enabled": False})
    overlay = patched(overlay, {"enabled": True})

    assert overlay == {"jitter": 1, "enabled": True}
    assert patched(overlay, None) is None
