"""Crontab: Celery's syntax and examples, and the nights of daylight saving against a brute-force oracle."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.crontab import Crontab, crontab
from amqtask.errors import InvalidSchedule

MINUTE = timedelta(minutes=1)


def dues(schedule: Crontab, start: datetime, until: datetime, zone=UTC) -> list[datetime]:
    found = []
    due = schedule.next_after(start, zone)
    while due is not None and due < until:
        found.append(due)
        due = schedule.next_after(due, zone)
    return found


def local(schedule: Crontab, start: str, until: str, zone: str) -> list[str]:
    """The dues from one wall-clock time to another, as the clocks of the zone show them, with the offset in hours."""
    place = ZoneInfo(zone)
    begin, end = (datetime.fromisoformat(text).replace(tzinfo=place).astimezone(UTC) for text in (start, until))
    return [due.astimezone(place).strftime("%d %H:%M %z") for due in dues(schedule, begin - MINUTE, end, place)]


def hours(*numbers: int) -> list[str]:
    return [f"{number:02}:00" for number in numbers]


# The table of "Crontab schedules" in Celery's user guide: the example, and all that it is due at on these days. 1 May
# 2026 is a Friday.
EXAMPLES = [
    (crontab(minute=30, hour=7, day_of_week=1), "2026-05-04", 14, ["04 07:30", "11 07:30"]),
    (crontab(minute=0, hour=0), "2026-05-07", 2, ["07 00:00", "08 00:00"]),
    (crontab(minute=0, hour="*/3"), "2026-05-07", 1, [f"07 {h}" for h in hours(0, 3, 6, 9, 12, 15, 18, 21)]),
    (crontab(minute=0, hour="0,3,6,9,12,15,18,21"), "2026-05-07", 1, [f"07 {h}" for h in hours(*range(0, 24, 3))]),
    (
        crontab(minute="*/10", hour="3,17,22", day_of_week="thu,fri"),
        "2026-05-06",
        4,
        [f"{d} {h}:{m}0" for d in ("07", "08") for h in ("03", "17", "22") for m in range(6)],
    ),
    (
        crontab(minute=0, hour="*/2,*/3"),
        "2026-05-07",
        1,
        [f"07 {h}" for h in hours(*(h for h in range(24) if h not in (1, 5, 7, 11, 13, 17, 19, 23)))],
    ),
    (crontab(minute=0, hour="*/5"), "2026-05-07", 1, [f"07 {h}" for h in hours(0, 5, 10, 15, 20)]),
    (
        crontab(minute=0, hour="*/3,8-17"),
        "2026-05-07",
        1,
        [f"07 {h}" for h in hours(0, 3, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21)],
    ),
    (crontab(0, 0, day_of_month="2"), "2026-05-01", 31, ["02 00:00"]),
    (crontab(0, 0, day_of_month="2-30/2"), "2026-05-01", 31, [f"{day:02} 00:00" for day in range(2, 31, 2)]),
    (
        crontab(0, 0, day_of_month="1-7,15-21"),
        "2026-05-01",
        31,
        [f"{day:02} 00:00" for day in (*range(1, 8), *range(15, 22))],
    ),
]


@pytest.mark.parametrize(("schedule", "start", "days", "expected"), EXAMPLES, ids=[str(row[0]) for row in EXAMPLES])
def test_an_example_of_celerys_guide_is_due_when_the_guide_says(schedule, start, days, expected):
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)

    found = dues(schedule, begin - MINUTE, begin + timedelta(days=days))

    assert [due.strftime("%d %H:%M") for due in found] == expected


def test_celerys_every_minute_is_due_every_minute():
    begin = datetime(2026, 5, 7, tzinfo=UTC)

    assert dues(crontab(), begin, begin + timedelta(days=1)) == [begin + MINUTE * n for n in range(1, 1440)]


@pytest.mark.parametrize("schedule", [crontab(day_of_week="sunday"), crontab(minute="*", hour="*", day_of_week="sun")])
def test_celerys_sunday_is_every_minute_of_sundays(schedule):
    begin = datetime(2026, 5, 4, tzinfo=UTC)

    found = dues(schedule, begin, begin + timedelta(days=14))

    assert len(found) == 2 * 1440
    assert {due.strftime("%a") for due in found} == {"Sun"}


def test_celerys_eleventh_of_may_is_once_a_year():
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    found = dues(crontab(0, 0, day_of_month="11", month_of_year="5"), begin, begin + timedelta(days=3 * 365))

    assert [due.isoformat() for due in found] == [f"{year}-05-11T00:00:00+00:00" for year in (2026, 2027, 2028)]


def test_celerys_every_third_month_is_every_day_of_the_first_month_of_a_quarter():
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    found = dues(crontab(0, 0, month_of_year="*/3"), begin - MINUTE, begin + timedelta(days=365))

    assert sorted({due.month for due in found}) == [1, 4, 7, 10]
    assert len(found) == 31 + 30 + 31 + 31


def test_day_of_month_and_day_of_week_must_both_match():
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    found = dues(crontab(0, 0, day_of_month="13", day_of_week="fri"), begin, begin + timedelta(days=365))

    assert [due.strftime("%b") for due in found] == ["Feb", "Mar", "Nov"]


def test_a_leap_day_on_a_monday_is_found_decades_ahead():
    found = crontab(0, 0, day_of_month=29, month_of_year=2, day_of_week="mon").next_after(
        datetime(2024, 3, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    )

    assert found == datetime(2044, 2, 28, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("day_of_week", "fri-mon", [0, 1, 5, 6]),
        ("day_of_week", "5-7", [0, 5, 6]),
        ("day_of_week", "0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("day_of_week", "7", [0]),
        ("day_of_week", "Tuesday", [2]),
        ("day_of_week", "*/2", [0, 2, 4, 6]),
        ("day_of_week", "sat-tue/2", [1, 6]),
        ("hour", "22-5", [0, 1, 2, 3, 4, 5, 22, 23]),
        ("hour", "22-5/2", [0, 2, 4, 22]),
        ("hour", "0,8-17/2", [0, 8, 10, 12, 14, 16]),
        ("minute", "1,13,30-35,50-59/2", [1, 13, 30, 31, 32, 33, 34, 35, 50, 52, 54, 56, 58]),
        ("minute", "5/20", [5, 25, 45]),
        ("minute", "*/59", [0, 59]),
        ("month_of_year", "nov-feb", [1, 2, 11, 12]),
        ("month_of_year", "2-12/2", [2, 4, 6, 8, 10, 12]),
        ("day_of_month", "*/7", [1, 8, 15, 22, 29]),
        ("day_of_month", "30-2", [1, 2, 30, 31]),
    ],
)
def test_a_field_means_these_values(field, text, expected):
    written = {"minute": "0", "hour": "0", "day_of_week": "*", "day_of_month": "*", "month_of_year": "*"}
    part = {"minute": "%-M", "hour": "%-H", "day_of_week": "%w", "day_of_month": "%-d", "month_of_year": "%-m"}[field]
    begin = datetime(2026, 1, 1, tzinfo=UTC)

    found = dues(Crontab(**written | {field: text}), begin - MINUTE, begin + timedelta(days=365))

    assert sorted({int(due.strftime(part)) for due in found}) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        ([0, 30], "0,30"),
        ({45, 15}, "15,45"),
        ("1, 2", "1,2"),
        (range(8, 11), "8,9,10"),
        (["1-5", 9], "1-5,9"),
    ],
)
def test_a_field_may_be_a_number_or_a_collection_as_in_celery(value, text):
    assert crontab(minute=value).minute == text


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("0 4 1 jan sun", crontab(0, 4, day_of_month=1, month_of_year="jan", day_of_week="sun")),
        ("@hourly", crontab(minute=0)),
        ("@Daily", crontab(0, 0)),
        ("@weekly", crontab(0, 0, day_of_week=0)),
        ("@monthly", crontab(0, 0, day_of_month=1)),
        ("@yearly", crontab(0, 0, day_of_month=1, month_of_year=1)),
    ],
)
def test_a_cron_line_has_crons_order_of_fields(line, same):
    assert Crontab.from_string(line) == same


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minute": "60"}, "60 is not between 0 and 59"),
        ({"hour": "24"}, "24 is not between 0 and 23"),
        ({"day_of_week": "8"}, "8 is not between 0 and 7"),
        ({"day_of_month": "0"}, "0 is not between 1 and 31"),
        ({"month_of_year": "13"}, "13 is not between 1 and 12"),
        ({"minute": "mon"}, "'mon' is not a number"),
        ({"month_of_year": "mon"}, "'mon' is not a number, a name such as jan"),
        ({"minute": "*/0"}, "the step must be a number above 0"),
        ({"minute": "*/"}, "the step must be a number above 0"),
        ({"minute": ""}, "'' is not a number"),
        ({"minute": "1,,2"}, "'' is not a number"),
        ({"minute": "-5"}, "'' is not a number"),
        ({"minute": "**"}, "'**' is not a number"),
        ({"day_of_week": "mo"}, "'mo' is not a number"),
        ({"day_of_month": "30", "month_of_year": "feb"}, "no year has day 30 of month feb"),
    ],
)
def test_a_wrong_field_is_refused_with_its_reason(fields, message):
    with pytest.raises(InvalidSchedule) as refused:
        Crontab(**fields)

    assert message in str(refused.value)


@pytest.mark.parametrize("line", ["* * * *", "* * * * * *", "", "@reboot"])
def test_a_cron_line_has_five_fields(line):
    with pytest.raises(InvalidSchedule, match="five fields are needed"):
        Crontab.from_string(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15th minute of every hour"),
        ("30 7 * * mon-fri", "at 07:30 on Monday through Friday"),
        ("0 0 11 may *", "at 00:00 on May 11"),
        (
            "0 0 1-7 * fri-mon",
            "at 00:00 on every day of month from 1 through 7, if it is Sunday, Monday, Friday, or Saturday",
        ),
        ("0 22-1 * * *", "at 00:00, 01:00, 22:00, and 23:00 every day"),
    ],
)
def test_a_crontab_is_described_in_words(line, words):
    assert Crontab.from_string(line).describe() == words


class TestWhenClocksGoForward:
    """Berlin, 29 March 2026: after 01:59 comes 03:00."""

    def berlin(self, line: str) -> list[str]:
        return local(Crontab.from_string(line), "2026-03-29T00:00", "2026-03-30T00:00", "Europe/Berlin")

    def test_a_time_that_is_left_out_is_made_up_at_the_first_instant_after_the_gap(self):
        assert self.berlin("30 2 * * *") == ["29 03:00 +0200"]

    def test_several_times_that_are_left_out_are_made_up_once(self):
        assert self.berlin("0,15,30 2,3 * * *") == ["29 03:00 +0200", "29 03:15 +0200", "29 03:30 +0200"]

    def test_minutes_of_an_hour_that_is_left_out_are_made_up_once(self):
        assert self.berlin("*/20 2 * * *") == ["29 03:00 +0200"]

    def test_an_hourly_one_goes_on_every_real_hour(self):
        assert self.berlin("30 * * * *")[:4] == ["29 00:30 +0100", "29 01:30 +0100", "29 03:30 +0200", "29 04:30 +0200"]

    def test_every_second_hour_leaves_out_what_the_clock_leaves_out(self):
        assert self.berlin("0 */2 * * *")[:3] == ["29 00:00 +0100", "29 04:00 +0200", "29 06:00 +0200"]

    def test_hours_that_are_named_are_open_when_all_of_them_are(self):
        assert self.berlin("30 0-23 * * *") == self.berlin("30 * * * *")

    def test_midnight_that_is_left_out_is_one_oclock(self):
        schedule = Crontab.from_string("0 0 * * *")

        found = local(schedule, "2018-11-03T00:00", "2018-11-05T12:00", "America/Sao_Paulo")

        assert found == ["03 00:00 -0300", "04 01:00 -0200", "05 00:00 -0200"]

    def test_a_day_that_is_left_out_is_the_first_instant_of_the_next(self):
        schedule = Crontab.from_string("0 12 30 12 *")

        found = local(schedule, "2011-12-01T00:00", "2012-02-01T00:00", "Pacific/Apia")

        assert found == ["31 00:00 +1400"]


class TestWhenClocksGoBack:
    """Berlin, 25 October 2026: after 02:59 comes 02:00 again."""

    def berlin(self, line: str, until: str = "2026-10-25T04:00") -> list[str]:
        return local(Crontab.from_string(line), "2026-10-25T00:00", until, "Europe/Berlin")

    def test_a_time_that_comes_twice_is_the_first(self):
        assert self.berlin("30 2 * * *", "2026-10-26T03:00") == ["25 02:30 +0200", "26 02:30 +0100"]

    def test_an_hourly_one_goes_on_every_real_hour(self):
        assert self.berlin("30 * * * *") == [
            "25 00:30 +0200",
            "25 01:30 +0200",
            "25 02:30 +0200",
            "25 02:30 +0100",
            "25 03:30 +0100",
        ]

    def test_minutes_of_an_hour_that_comes_twice_come_twice(self):
        assert self.berlin("*/30 2 * * *") == ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"]

    def test_asked_in_the_second_of_the_hours_it_does_not_answer_with_the_past(self):
        # cronsim's own arithmetic in zones does: 02:30 +0200.
        asked = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)

        assert Crontab.from_string("30 2 * * *").next_after(asked, ZoneInfo("Europe/Berlin")) == datetime(
            2026, 10, 26, 1, 30, tzinfo=UTC
        )

    def test_the_second_of_the_hours_is_not_taken_for_next_years(self):
        # A year later the clock has the same offset at this time: changes in between must be seen all the same.
        asked = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)

        found = Crontab.from_string("*/30 2 25 10 *").next_after(asked, ZoneInfo("Europe/Berlin"))

        assert found == datetime(2026, 10, 25, 1, tzinfo=UTC)

    def test_half_an_hour_back_loses_no_minute_of_the_hour_after_it(self):
        # Lord Howe goes back from 02:00 to 01:30. cronsim's own arithmetic goes on at 02:30.
        schedule = Crontab.from_string("*/10 2 * * *")

        found = local(schedule, "2026-04-05T00:00", "2026-04-05T02:30", "Australia/Lord_Howe")

        assert found == ["05 02:00 +1030", "05 02:10 +1030", "05 02:20 +1030"]


ZONES = sorted(available_timezones() - {"localtime", "Factory"})
DAY = timedelta(days=1)


def change_in(zone: ZoneInfo, year: int, number: int) -> datetime:
    """About when the offset of the zone changes in a year for the time of this number; its first day if it does not."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + DAY * n for n in range(366)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    changes = [day for day, one, two in zip(days[1:], offsets, offsets[1:], strict=False) if one != two]
    return changes[number % len(changes)] if changes else days[0]


def matches(clock: datetime, fields: dict[str, set[int]]) -> bool:
    shown = {
        "minute": clock.minute,
        "hour": clock.hour,
        "day_of_month": clock.day,
        "month_of_year": clock.month,
        "day_of_week": clock.isoweekday() % 7,
    }
    return all(shown[name] in values for name, values in fields.items())


def brute_force(
    fields: dict[str, set[int]], repeats: bool, makes_up: bool, start: datetime, until: datetime, zone: ZoneInfo
) -> list[datetime]:
    """Looks at the clock of the zone at every minute that really passes."""
    found = []
    instant, before = start, start.astimezone(zone)
    while instant < until:
        clock = instant.astimezone(zone)
        missing = []
        wall = before.replace(tzinfo=None) + MINUTE
        while wall < clock.replace(tzinfo=None):
            missing.append(wall)
            wall += MINUTE
        makes = makes_up and any(matches(wall, fields) for wall in missing)
        if makes or (matches(clock, fields) and (repeats or not clock.fold)):
            found.append(instant)
        instant, before = instant + MINUTE, clock
    return found


def text_of(values: set[int]) -> tuple[str, set[int]]:
    return ",".join(map(str, values)), values


NIGHT = st.sets(st.integers(0, 3), min_size=1, max_size=4).map(text_of)


def field_of(low: int, high: int) -> st.SearchStrategy[tuple[str, set[int]]]:
    everything = set(range(low, high + 1))
    few = st.sets(st.integers(low, high), min_size=1, max_size=6)
    return st.one_of(
        st.just(("*", everything)),
        st.integers(2, high).map(lambda step: (f"*/{step}", set(range(low, high + 1, step)))),
        few.map(text_of),
    )


@settings(max_examples=25, deadline=None)
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    year=st.integers(1973, 2037),
    number=st.integers(0, 3),
    minute=field_of(0, 59),
    hour=st.one_of(field_of(0, 23), NIGHT),
    weekday=st.one_of(st.just(("*", set(range(7)))), field_of(0, 6)),
)
def test_around_every_change_of_every_zone_it_is_due_as_brute_force_finds(zone, year, number, minute, hour, weekday):
    change = change_in(zone, year, number)
    start, until = change - DAY - timedelta(hours=6), change + timedelta(hours=6)
    fields = {"minute": minute[1], "hour": hour[1], "day_of_week": weekday[1]}
    schedule = Crontab(minute=minute[0], hour=hour[0], day_of_week=weekday[0])
    open_hour = "*" in hour[0] or len(hour[1]) == 24
    open_minute = "*" in minute[0] or len(minute[1]) == 60

    found = dues(schedule, start, until, zone)

    expected = brute_force(fields, open_hour or open_minute, not open_hour, start, until, zone)
    assert found == [due for due in expected if due > start]
