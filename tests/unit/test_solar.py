"""The sun: almanac times, polar days and nights, and no event lost."""

import itertools
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from amqtask.core.solar import EVENTS, Solar, solar
from amqtask.errors import ExtraMissing, InvalidSchedule

DAY = timedelta(days=1)


def dues(schedule: Solar, start: datetime, until: datetime) -> list[datetime]:
    found = []
    due = schedule.next_after(start, UTC)
    while due is not None and due < until:
        found.append(due)
        due = schedule.next_after(due, UTC)
    return found


@pytest.mark.parametrize(
    ("event", "place", "day", "clock"),
    [
        # Published almanac times, to the minute.
        ("sunrise", (51.5074, -0.1278), "2024-06-21", "03:43"),
        ("sunset", (51.5074, -0.1278), "2024-06-21", "20:21"),
        ("sunset", (-37.81753, 144.96715), "2025-01-01", "09:45"),
        ("sunrise", (40.7128, -74.006), "2024-12-21", "12:17"),
        ("solar_noon", (0.0, 0.0), "2024-02-11", "12:14"),
        ("dawn_civil", (52.52, 13.405), "2025-03-20", "04:34"),
        ("dusk_nautical", (52.52, 13.405), "2025-03-20", "18:34"),
    ],
)
def test_an_event_is_when_the_almanac_says(event, place, day, clock):
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)

    found = solar(event, *place).next_after(begin, UTC)

    assert abs(found - datetime.fromisoformat(f"{day}T{clock}:30+00:00")) <= timedelta(seconds=90)


def test_the_events_of_a_day_come_in_their_order():
    begin = datetime(2025, 3, 20, tzinfo=UTC)

    found = [solar(event, 52.52, 13.405).next_after(begin, UTC) for event in EVENTS]

    assert found == sorted(found)
    assert found[-1] < begin + DAY


def test_the_zone_does_not_matter():
    begin = datetime(2025, 3, 20, tzinfo=UTC)
    schedule = solar("sunset", -37.81753, 144.96715)

    assert schedule.next_after(begin, UTC) == schedule.next_after(begin, ZoneInfo("Australia/Melbourne"))


@pytest.mark.parametrize(
    ("event", "latitude", "longitude"),
    [
        # Where an event drifts over midnight in UTC, and where the date changes: a search by days of UTC loses one.
        ("sunrise", 23.8, 90.4),
        ("sunset", 41.9, -87.6),
        ("sunrise", 0, 180),
        ("sunset", 0, -180),
        ("solar_noon", 0, 180),
        ("solar_noon", 50, -180),
    ],
)
def test_each_day_of_two_years_has_one_event(event, latitude, longitude):
    begin = datetime(2024, 1, 1, 5, tzinfo=UTC)

    found = dues(solar(event, latitude, longitude), begin, begin + 731 * DAY)

    assert len(found) == 731
    assert all(abs(two - one - DAY) < timedelta(minutes=3) for one, two in itertools.pairwise(found))


def test_in_a_polar_night_the_sun_does_not_rise():
    tromso = solar("sunrise", 69.65, 18.96)

    first = tromso.next_after(datetime(2024, 12, 1, tzinfo=UTC), UTC)

    assert datetime(2025, 1, 10, tzinfo=UTC) < first < datetime(2025, 1, 20, tzinfo=UTC)


def test_in_a_polar_summer_it_does_not_set():
    tromso = solar("sunset", 69.65, 18.96)

    first = tromso.next_after(datetime(2024, 6, 1, tzinfo=UTC), UTC)

    assert datetime(2024, 7, 20, tzinfo=UTC) < first < datetime(2024, 8, 1, tzinfo=UTC)


def test_noon_comes_in_a_polar_night_too():
    begin = datetime(2024, 12, 21, tzinfo=UTC)

    assert len(dues(solar("solar_noon", 80, 18.96), begin, begin + 7 * DAY)) == 7


def test_at_the_pole_it_rises_once_a_year():
    begin = datetime(2024, 1, 1, tzinfo=UTC)

    assert [due.month for due in dues(solar("sunrise", 90, 0), begin, begin + 730 * DAY)] == [3, 3]


@pytest.mark.parametrize(
    ("event", "latitude", "longitude", "message"),
    [
        ("sunrize", 0, 0, "did you mean sunrise?"),
        ("tea", 0, 0, "the events are dawn_astronomical"),
        ("sunrise", 90.1, 0, "latitude 90.1 is not between -90 and 90"),
        ("sunrise", float("nan"), 0, "latitude nan"),
        ("sunrise", 0, -181, "longitude -181 is not between -180 and 180"),
    ],
)
def test_what_cannot_be_is_refused(event, latitude, longitude, message):
    with pytest.raises(InvalidSchedule) as refused:
        solar(event, latitude, longitude)

    assert message in str(refused.value)


def test_without_the_extra_it_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "astral", None)

    with pytest.raises(ExtraMissing, match=r"amqtask\[solar\]"):
        solar("sunset", 0, 0).next_after(datetime(2024, 1, 1, tzinfo=UTC), UTC)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (solar("sunset", -37.8175, 144.967), "at sunset, 37.8175°S 144.967°E"),
        (solar("solar_noon", 52, -13), "at solar noon, 52°N 13°W"),
        (solar("dawn_civil", 52, -13), "at civil dawn, 52°N 13°W"),
    ],
)
def test_an_event_is_described_in_words(schedule, words):
    assert schedule.describe() == words
