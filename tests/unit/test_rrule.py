"""Recurrence rules: iCalendar's meaning in a zone."""

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from amqtask.core.rrule import RRule
from amqtask.errors import ExtraMissing, InvalidSchedule

BERLIN = ZoneInfo("Europe/Berlin")


def shown(rule: RRule, start: datetime, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    found = []
    due: datetime | None = start.replace(tzinfo=UTC)
    for _ in range(count):
        due = rule.next_after(due, zone)
        if due is None:
            break
        found.append(f"{due.astimezone(zone):%m-%d %H:%M %z}")
    return found


def test_a_rule_is_due_at_the_wall_clock_times_of_the_zone():
    rule = RRule(rule="FREQ=MONTHLY;BYDAY=-1FR", start=datetime(2026, 1, 1, 9))

    assert shown(rule, datetime(2026, 1, 1), 4) == [
        "01-30 09:00 +0100",
        "02-27 09:00 +0100",
        "03-27 09:00 +0100",
        "04-24 09:00 +0200",
    ]


def test_the_start_is_the_first_time_that_may_be_due():
    rule = RRule(rule="FREQ=DAILY", start=datetime(2026, 5, 7, 9))

    assert shown(rule, datetime(2020, 1, 1), 2) == ["05-07 09:00 +0200", "05-08 09:00 +0200"]


def test_a_start_with_a_zone_is_that_instant():
    rule = RRule(rule="FREQ=DAILY", start=datetime(2026, 5, 7, 9, tzinfo=UTC))

    assert shown(rule, datetime(2026, 5, 7), 1) == ["05-07 11:00 +0200"]


def test_a_rule_without_a_start_begins_when_it_is_first_seen():
    rule = RRule(rule="FREQ=DAILY;INTERVAL=2").anchored(datetime(2026, 5, 7, 9, 0, 0, 5, tzinfo=UTC))

    assert shown(rule, datetime(2026, 5, 7, 9), 2) == ["05-09 11:00 +0200", "05-11 11:00 +0200"]
    assert rule.anchored(datetime(2030, 1, 1, tzinfo=UTC)) == rule


def test_a_rule_with_a_count_ends():
    rule = RRule(rule="FREQ=HOURLY;COUNT=3", start=datetime(2026, 5, 7, 9))

    assert shown(rule, datetime(2026, 5, 1), 9) == ["05-07 09:00 +0200", "05-07 10:00 +0200", "05-07 11:00 +0200"]


@pytest.mark.parametrize("until", ["20260509T070000Z", "20260509T090000", "20260510"])
def test_a_rule_with_an_end_ends(until):
    rule = RRule(rule=f"FREQ=DAILY;UNTIL={until}", start=datetime(2026, 5, 7, 9))

    assert shown(rule, datetime(2026, 5, 1), 9) == ["05-07 09:00 +0200", "05-08 09:00 +0200", "05-09 09:00 +0200"]


def test_a_rule_that_no_year_fulfils_is_never_due():
    rule = RRule(rule="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", start=datetime(2026, 1, 1))

    assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC), BERLIN) is None


def test_a_daily_time_that_the_clock_leaves_out_is_made_up_after_the_gap():
    rule = RRule(rule="FREQ=DAILY", start=datetime(2026, 3, 1, 2, 30))

    assert shown(rule, datetime(2026, 3, 28, 12), 2) == ["03-29 03:00 +0200", "03-30 02:30 +0200"]


def test_a_daily_time_that_comes_twice_is_the_first():
    rule = RRule(rule="FREQ=DAILY", start=datetime(2026, 3, 1, 2, 30))

    assert shown(rule, datetime(2026, 10, 24, 12), 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_an_hourly_rule_goes_on_every_real_hour():
    rule = RRule(rule="FREQ=HOURLY", start=datetime(2026, 1, 1, 0, 30))

    assert shown(rule, datetime(2026, 3, 29, 0), 2) == ["03-29 01:30 +0100", "03-29 03:30 +0200"]
    assert shown(rule, datetime(2026, 10, 25, 0), 2) == ["10-25 02:30 +0200", "10-25 02:30 +0100"]


def test_years_of_seconds_are_not_counted_through():
    # dateutil counts from the start, each time anew: here a billion seconds.
    rule = RRule(rule="FREQ=SECONDLY;INTERVAL=7", start=datetime(1990, 1, 1))

    found = rule.next_after(datetime(2026, 5, 7, tzinfo=UTC), ZoneInfo("Etc/UTC"))

    assert (found - datetime(1990, 1, 1, tzinfo=UTC)) % timedelta(seconds=7) == timedelta()
    assert found - datetime(2026, 5, 7, tzinfo=UTC) <= timedelta(seconds=7)


@settings(max_examples=25, deadline=None)
@given(
    freq=st.sampled_from(["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    interval=st.integers(1, 9),
    extra=st.sampled_from(["", ";BYDAY=MO,TH", ";BYHOUR=3,17", ";BYMONTH=2,9", ";BYDAY=TU;BYMINUTE=5,50", ";WKST=SU"]),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2025, 1, 1)),
    ahead=st.timedeltas(timedelta(days=-10), timedelta(days=100)),
)
def test_in_utc_it_is_due_when_dateutil_counting_from_the_start_says(freq, interval, extra, start, ahead):
    assume(freq != "HOURLY" or "BYHOUR" not in extra)  # dateutil refuses those that never meet
    text = f"FREQ={freq};INTERVAL={interval}{extra}"
    start = start.replace(microsecond=0)

    found = RRule(rule=text, start=start).next_after((start + ahead).replace(tzinfo=UTC), UTC)

    expected = rrulestr(f"{text};UNTIL=20600101T000000", dtstart=start).after(start + ahead)
    assert found == (expected and expected.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "one rule is needed"),
        ("every day", "one rule is needed"),
        ("FREQ=FORTNIGHTLY", "one rule is needed, with FREQ="),
        ("FREQ=DAILY;BYHOUR", "one rule is needed"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number above 0"),
        ("FREQ=DAILY;INTERVAL=x", "INTERVAL must be a number above 0"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20260101", "COUNT and UNTIL exclude each other"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "one rule is needed"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_reason(rule, message):
    with pytest.raises(InvalidSchedule, match=message):
        RRule(rule=rule)


@pytest.mark.parametrize("part", ["BYHOUR=x", "BYFULLMOON=1", "BYDAY=XX"])
def test_what_dateutil_refuses_is_refused_when_it_is_first_asked(part):
    rule = RRule(rule=f"FREQ=DAILY;{part}")

    with pytest.raises(InvalidSchedule, match=part.partition("=")[0]):
        rule.next_after(datetime(2026, 1, 1, tzinfo=UTC), UTC)


def test_without_the_extra_it_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "dateutil.rrule", None)
    rule = RRule(rule="FREQ=DAILY")

    with pytest.raises(ExtraMissing, match=r"amqtask\[rrule\]"):
        rule.next_after(datetime(2026, 1, 1, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=DAILY", "every day (FREQ=DAILY)"),
        ("rrule:freq=weekly;interval=2;byday=mo", "every 2 weeks (FREQ=WEEKLY;INTERVAL=2;BYDAY=MO)"),
    ],
)
def test_a_rule_is_described_in_words(rule, words):
    assert RRule(rule=rule).describe() == words
