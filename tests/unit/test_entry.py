"""Entries of the schedule, their state, and the ids of their ticks."""

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.crontab import crontab
from amqtask.core.entry import CatchUp, EntryState, ScheduleEntry, entry_from_dict, state_from_dict, tick_id
from amqtask.core.schedule import Interval
from amqtask.core.wallclock import zone_named
from amqtask.errors import InvalidSchedule

DUE = datetime(2026, 5, 7, 10, tzinfo=UTC)
INSTANTS = st.datetimes(timezones=st.just(UTC))


def test_a_tick_has_the_same_id_whoever_asks_in_whatever_zone():
    assert tick_id("report", DUE) == tick_id("report", DUE.astimezone(timezone(timedelta(hours=2))))
    # Written down, for beats of two versions may run side by side.
    assert tick_id("report", DUE) == "dfe45a1d-6831-8b6b-8074-56b7aa9756c4"


def test_ticks_of_other_entries_and_instants_have_other_ids():
    second = timedelta(microseconds=1)

    assert len({tick_id(name, due) for name in ("a", "b") for due in (DUE, DUE + second)}) == 4


@given(name=st.text(min_size=1), due=INSTANTS)
def test_an_id_has_the_form_of_a_uuid_of_ones_own(name, due):
    found = uuid.UUID(tick_id(name, due))

    assert str(found) == tick_id(name, due)
    assert (found.version, found.variant) == (8, uuid.RFC_4122)


def test_an_entry_is_read_from_what_people_write():
    entry = entry_from_dict(
        {
            "name": "report",
            "task": "shop.report",
            "schedule": "0 7 * * mon-fri",
            "args": [1, "two"],
            "kwargs": {"full": True},
            "options": {"queue": "reports"},
            "enabled": False,
            "timezone": "Europe/Berlin",
            "catch_up": "all",
            "catch_up_limit": 5,
            "jitter": 2.5,
            "expires": 60,
        }
    )

    assert entry == ScheduleEntry(
        name="report",
        task="shop.report",
        schedule=crontab(0, 7, "mon-fri"),
        args=(1, "two"),
        kwargs={"full": True},
        options={"queue": "reports"},
        enabled=False,
        timezone="Europe/Berlin",
        catch_up=CatchUp.ALL,
        catch_up_limit=5,
        jitter=2.5,
        expires=60,
    )


def test_what_is_not_written_has_its_default():
    entry = entry_from_dict({"name": "report", "task": "shop.report", "schedule": 30})

    assert entry == ScheduleEntry(name="report", task="shop.report", schedule=Interval(every=timedelta(seconds=30)))
    assert entry.to_dict() == {"name": "report", "task": "shop.report", "schedule": {"every": 30}}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
ENTRIES = st.builds(
    ScheduleEntry,
    name=st.text(min_size=1),
    task=st.text(min_size=1),
    schedule=st.just(crontab(0, 7)),
    args=st.lists(JSON, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(), JSON, max_size=3),
    options=st.dictionaries(st.text(), JSON, max_size=3),
    enabled=st.booleans(),
    timezone=st.sampled_from([None, "UTC", "Europe/Berlin"]),
    catch_up=st.sampled_from(CatchUp),
    catch_up_limit=st.integers(1, 10**6),
    jitter=st.floats(0, 1e6),
    expires=st.one_of(st.none(), st.floats(0.001, 1e6)),
)


@given(ENTRIES)
def test_no_entry_loses_anything_on_the_way_to_json_and_back(entry):
    assert entry_from_dict(json.loads(json.dumps(entry.to_dict()))) == entry


@given(
    st.builds(
        EntryState,
        since=INSTANTS,
        last_run=st.one_of(st.none(), INSTANTS),
        next_run=st.one_of(st.none(), INSTANTS),
        count=st.integers(0),
    )
)
def test_no_state_loses_anything_on_the_way_to_json_and_back(state):
    assert state_from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_an_entry_without_a_zone_has_the_apps():
    entry = ScheduleEntry(name="report", task="shop.report", schedule=crontab())
    berlin = zone_named("Europe/Berlin")

    assert entry.zone(berlin) is berlin
    assert entry_from_dict(entry.to_dict() | {"timezone": "Asia/Tokyo"}).zone(berlin) == zone_named("Asia/Tokyo")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "a name and a task are needed"),
        ({"name": 5}, "`name` must be a text, not 5"),
        ({"task": None}, "`task` must be a text, not None"),
        ({"schedule": None}, "a NoneType is no schedule"),
        ({"args": "abc"}, "`args` must be a list, not 'abc'"),
        ({"kwargs": [1]}, "`kwargs` must be a mapping"),
        ({"enabled": "no"}, "`enabled` must be true or false"),
        ({"timezone": "Europe/Atlantis"}, "there is no time zone 'Europe/Atlantis'"),
        ({"catch_up": "some"}, "`catch_up` must be one of none, last, all"),
        ({"catch_up_limit": 0}, "catch_up_limit must be at least 1"),
        ({"catch_up_limit": 1.5}, "`catch_up_limit` must be a whole number"),
        ({"jitter": -1}, "jitter must not be negative"),
        ({"expires": 0}, "expires must be more than 0"),
        ({"crontab": "* * * * *"}, "there is no crontab, only"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_reason(change, message):
    with pytest.raises(InvalidSchedule) as refused:
        entry_from_dict({"name": "report", "task": "shop.report", "schedule": 30} | change)

    assert message in str(refused.value)


@pytest.mark.parametrize("data", [{}, {"since": "yesterday"}, {"since": DUE, "count": "1"}, {"since": DUE, "runs": 1}])
def test_a_wrong_state_is_refused(data):
    with pytest.raises(InvalidSchedule, match="state"):
        state_from_dict(data)
