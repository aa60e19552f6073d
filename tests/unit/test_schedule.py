"""Intervals, one-offs, and the forms in which schedules are written and kept."""

import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.crontab import Crontab, crontab
from amqtask.core.rrule import RRule
from amqtask.core.schedule import Interval, Once, Schedule, as_schedule, schedule_from_dict
from amqtask.core.solar import EVENTS, Solar
from amqtask.errors import InvalidSchedule

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
EVERY = st.timedeltas(timedelta(microseconds=1), timedelta(days=1000))


def at(text: str) -> datetime:
    """An instant; in UTC unless the text says otherwise."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def shown(schedule: Schedule, start: str, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """The next dues, as the clocks of the zone show them."""
    due: datetime | None = at(start)
    found = []
    for _ in range(count):
        due = schedule.next_after(due, zone)
        found.append(f"{due.astimezone(zone):%d %H:%M %z}")
    return found


class TestInterval:
    def test_it_counts_from_its_origin_which_is_not_due_itself(self):
        schedule = Interval(every=timedelta(seconds=30), origin=at("2026-05-07T10:00:07"))

        assert schedule.next_after(at("2026-05-07T10:00:07"), UTC) == at("2026-05-07T10:00:37")
        assert schedule.next_after(at("2026-05-07T10:00:37"), UTC) == at("2026-05-07T10:01:07")
        assert schedule.next_after(at("2026-05-07T10:00:36.999999"), UTC) == at("2026-05-07T10:00:37")
        assert schedule.next_after(at("2026-05-01T00:00:00"), UTC) == at("2026-05-07T10:00:37")

    def test_without_an_origin_it_counts_from_what_it_is_asked_about(self):
        schedule = Interval(every=timedelta(seconds=30))

        assert schedule.next_after(at("2026-05-07T10:00:07"), UTC) == at("2026-05-07T10:00:37")

    def test_it_is_given_an_origin_once(self):
        anchored = Interval(every=HOUR).anchored(at("2026-05-07T10:00:07"))

        assert anchored.origin == at("2026-05-07T10:00:07")
        assert anchored.anchored(at("2026-05-08T00:00:00")) == anchored

    def test_it_counts_real_time_when_clocks_change(self):
        schedule = Interval(every=timedelta(days=1), origin=at("2026-03-27T11:00:00"))

        assert shown(schedule, "2026-03-27T11:00:00", 3) == ["28 12:00 +0100", "29 13:00 +0200", "30 13:00 +0200"]

    def test_aligned_it_goes_by_the_clock(self):
        assert shown(Interval(every=HOUR, aligned=True), "2026-05-07T10:12:00", 2) == [
            "07 13:00 +0200",
            "07 14:00 +0200",
        ]

    def test_aligned_it_goes_by_the_clock_of_the_zone(self):
        schedule = Interval(every=HOUR, aligned=True)

        assert schedule.next_after(at("2026-05-07T10:12:00"), ZoneInfo("Asia/Kolkata")) == at("2026-05-07T10:30:00")

    def test_aligned_days_begin_at_midnight_and_weeks_on_monday(self):
        days, weeks = (Interval(every=timedelta(days=count), aligned=True) for count in (1, 7))

        assert shown(days, "2026-05-07T10:12:00", 2) == ["08 00:00 +0200", "09 00:00 +0200"]
        assert f"{weeks.next_after(at('2026-05-07T10:12:00'), BERLIN).astimezone(BERLIN):%A %H:%M}" == "Monday 00:00"

    def test_aligned_under_a_day_it_is_due_in_both_of_the_hours_that_come_twice(self):
        schedule = Interval(every=HOUR / 2, aligned=True)

        assert shown(schedule, "2026-10-24T23:45:00", 5) == [
            "25 02:00 +0200",
            "25 02:30 +0200",
            "25 02:00 +0100",
            "25 02:30 +0100",
            "25 03:00 +0100",
        ]

    def test_aligned_under_a_day_it_leaves_out_what_the_clock_leaves_out(self):
        schedule = Interval(every=2 * HOUR, aligned=True)

        assert shown(schedule, "2026-03-28T22:30:00", 3) == ["29 00:00 +0100", "29 04:00 +0200", "29 06:00 +0200"]

    def test_an_aligned_day_makes_up_a_midnight_that_is_left_out(self):
        schedule = Interval(every=timedelta(days=1), aligned=True)

        found = shown(schedule, "2018-11-03T12:00:00", 2, ZoneInfo("America/Sao_Paulo"))

        assert found == ["04 01:00 -0200", "05 00:00 -0200"]

    @pytest.mark.parametrize("every", [timedelta(), timedelta(seconds=-1), timedelta(days=36_501)])
    def test_an_interval_that_cannot_be_is_refused(self, every):
        with pytest.raises(InvalidSchedule, match="more than 0 and at most 100 years"):
            Interval(every=every)

    @given(every=EVERY, origin=INSTANTS, instant=INSTANTS)
    def test_it_is_due_at_whole_multiples_and_the_first_one_after(self, every, origin, instant):
        due = Interval(every=every, origin=origin).next_after(instant, UTC)

        assert (due - origin) % every == timedelta()
        assert due - every <= max(instant, origin) < due

    @settings(deadline=None)
    @given(every=st.timedeltas(timedelta(seconds=1), timedelta(hours=23)), instant=INSTANTS)
    def test_aligned_in_utc_it_is_due_at_whole_multiples_and_the_first_one_after(self, every, instant):
        due = Interval(every=every, aligned=True).next_after(instant, UTC)

        assert (due - datetime(1, 1, 1, tzinfo=UTC)) % every == timedelta()
        assert due - every <= instant < due


class TestOnce:
    def test_an_instant_is_due_once(self):
        schedule = Once(at=datetime(2026, 12, 24, 18, tzinfo=timezone(HOUR)))

        assert schedule.next_after(at("2026-12-24T16:59:59"), BERLIN) == at("2026-12-24T17:00:00")
        assert schedule.next_after(at("2026-12-24T17:00:00"), BERLIN) is None

    def test_a_time_without_a_zone_is_one_of_the_entrys_zone(self):
        schedule = Once(at=datetime(2026, 12, 24, 18))

        assert schedule.next_after(at("2026-12-01T00:00:00"), BERLIN) == at("2026-12-24T17:00:00")
        assert schedule.next_after(at("2026-12-01T00:00:00"), UTC) == at("2026-12-24T18:00:00")

    def test_a_time_that_the_clock_leaves_out_is_the_first_instant_after_the_gap(self):
        assert shown(Once(at=datetime(2026, 3, 29, 2, 30)), "2026-03-01T00:00:00", 1) == ["29 03:00 +0200"]

    def test_a_time_that_comes_twice_is_the_first(self):
        assert shown(Once(at=datetime(2026, 10, 25, 2, 30)), "2026-10-01T00:00:00", 1) == ["25 02:30 +0200"]


@pytest.mark.parametrize(
    ("value", "schedule"),
    [
        (30, Interval(every=timedelta(seconds=30))),
        (0.5, Interval(every=timedelta(milliseconds=500))),
        (timedelta(minutes=2), Interval(every=timedelta(minutes=2))),
        ("*/5 * * * *", crontab(minute="*/5")),
        ("@daily", crontab(0, 0)),
        ("FREQ=DAILY;COUNT=3", RRule(rule="FREQ=DAILY;COUNT=3")),
        ("rrule:freq=daily", RRule(rule="rrule:freq=daily")),
        (Once(at=datetime(2026, 1, 1)), Once(at=datetime(2026, 1, 1))),
        ({"every": 3600, "aligned": True}, Interval(every=HOUR, aligned=True)),
        ({"every": timedelta(hours=1)}, Interval(every=HOUR)),
        ({"crontab": "0 7 * * mon-fri"}, crontab(0, 7, "mon-fri")),
        ({"crontab": {"minute": [0, 30], "hour": 8}}, crontab([0, 30], 8)),
        (
            {"solar": "sunset", "latitude": -37.8, "longitude": 145},
            Solar(event="sunset", latitude=-37.8, longitude=145),
        ),
        ({"at": "2026-12-24T18:00:00+01:00"}, Once(at=datetime(2026, 12, 24, 18, tzinfo=timezone(HOUR)))),
        ({"at": datetime(2026, 12, 24)}, Once(at=datetime(2026, 12, 24))),
        (
            {"rrule": "FREQ=WEEKLY", "start": "2026-01-01T09:00:00"},
            RRule(rule="FREQ=WEEKLY", start=datetime(2026, 1, 1, 9)),
        ),
    ],
)
def test_what_people_write_is_a_schedule(value, schedule):
    assert as_schedule(value) == schedule


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "a NoneType is no schedule"),
        (True, "a bool is no schedule"),
        (float("nan"), "an interval of nan seconds is not possible"),
        (0, "more than 0"),
        (1e300, "is not possible"),
        ("every day", "five fields are needed"),
        ({}, "one of every, crontab, solar, at, rrule is needed, not none"),
        ({"every": 1, "at": "2026-01-01"}, "is needed, not every, at"),
        ({"every": "1"}, "`every` must be a number, not '1'"),
        ({"every": 1, "align": True}, "there is no align, only aligned, every, origin"),
        ({"every": 1, "aligned": "yes"}, "`aligned` must be true or false, not 'yes'"),
        ({"every": 1, "aligned": True, "origin": "2026-01-01T00:00:00Z"}, "an aligned interval has none"),
        ({"every": 1, "origin": "2026-01-01T00:00:00"}, "origin must have a zone"),
        ({"crontab": 5}, "a cron line or a mapping"),
        ({"crontab": {"minutes": 5}}, "there is no minutes, only"),
        ({"crontab": {"minute": 5.5}}, "a text, a number or a list of numbers, not 5.5"),
        ({"solar": "sunset", "latitude": 1}, "`longitude` must be a number, not None"),
        ({"solar": "sunset", "latitude": 91, "longitude": 0}, "latitude 91 is not between -90 and 90"),
        ({"at": "tomorrow"}, "`at` must be a time such as"),
        ({"at": None}, "`at` must be a time such as"),
        ({"rrule": 5}, "`rrule` must be a text, not 5"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_reason(value, message):
    with pytest.raises(InvalidSchedule) as refused:
        as_schedule(value)

    assert message in str(refused.value)


FIELD_TEXTS = st.sampled_from(["*", "0", "*/5", "1,3", "2-4", "4-2", "3/2"])
SCHEDULES = st.one_of(
    st.builds(Interval, every=EVERY, aligned=st.booleans()),
    st.builds(Interval, every=EVERY, origin=INSTANTS),
    st.builds(Crontab, minute=FIELD_TEXTS, hour=FIELD_TEXTS, day_of_week=st.sampled_from(["*", "mon", "fri-mon", "7"])),
    st.builds(
        Solar,
        event=st.sampled_from(EVENTS),
        latitude=st.floats(-90, 90, allow_nan=False),
        longitude=st.floats(-180, 180, allow_nan=False),
    ),
    st.builds(Once, at=st.one_of(INSTANTS, st.datetimes())),
    st.builds(
        RRule,
        rule=st.sampled_from(["FREQ=DAILY", "freq=monthly;byday=-1fr"]),
        start=st.one_of(st.none(), INSTANTS, st.datetimes()),
    ),
)


@given(SCHEDULES)
def test_nothing_is_lost_on_the_way_to_json_and_back(schedule):
    written = json.dumps(schedule.to_dict())

    assert schedule_from_dict(json.loads(written)) == schedule


@given(SCHEDULES)
def test_every_kind_is_a_schedule_and_can_be_kept_in_a_set(schedule):
    assert isinstance(schedule, Schedule)
    assert len({schedule, schedule_from_dict(schedule.to_dict())}) == 1


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Interval(every=timedelta(seconds=1)), "every second"),
        (Interval(every=timedelta(seconds=90)), "every 90 seconds"),
        (Interval(every=timedelta(seconds=0.25)), "every 0.25 seconds"),
        (Interval(every=timedelta(minutes=5)), "every 5 minutes"),
        (Interval(every=HOUR, aligned=True), "every hour, by the clock"),
        (Interval(every=timedelta(days=14)), "every 2 weeks"),
        (Once(at=datetime(2026, 12, 24, 18)), "once, at 2026-12-24 18:00:00"),
    ],
)
def test_a_schedule_is_described_in_words(schedule, words):
    assert schedule.describe() == words
