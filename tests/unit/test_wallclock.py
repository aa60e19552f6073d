"""Wall-clock times of a zone and the instants that they mean."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.wallclock import instant_of, zone_named
from amqtask.errors import InvalidSchedule

ZONES = sorted(available_timezones() - {"localtime", "Factory"})


@pytest.mark.parametrize(
    ("wall", "zone", "instant"),
    [
        ("2026-01-15T12:00", "Europe/Berlin", "2026-01-15T11:00"),
        ("2026-07-15T12:00", "Europe/Berlin", "2026-07-15T10:00"),
        ("2026-03-29T01:59", "Europe/Berlin", "2026-03-29T00:59"),
        ("2026-03-29T02:00", "Europe/Berlin", "2026-03-29T01:00"),
        ("2026-03-29T02:59", "Europe/Berlin", "2026-03-29T01:00"),
        ("2026-03-29T03:00", "Europe/Berlin", "2026-03-29T01:00"),
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30"),
        ("2026-10-25T03:00", "Europe/Berlin", "2026-10-25T02:00"),
        ("2011-12-30T12:00", "Pacific/Apia", "2011-12-30T10:00"),
        ("2026-01-15T12:00", "Asia/Kathmandu", "2026-01-15T06:15"),
        ("2026-01-15T12:00", "UTC", "2026-01-15T12:00"),
    ],
)
def test_a_wall_clock_time_is_the_first_instant_at_which_a_clock_shows_it_or_a_later_one(wall, zone, instant):
    found = instant_of(datetime.fromisoformat(wall), zone_named(zone))

    assert found == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    wall=st.datetimes(datetime(1970, 1, 2), datetime(2037, 12, 30)),
)
def test_a_wall_clock_time_that_exists_is_what_the_clock_shows_then(zone, wall):
    instant = instant_of(wall, zone)

    shown = instant.astimezone(zone)
    just_before = (instant - timedelta(microseconds=1)).astimezone(zone)
    assert shown.replace(tzinfo=None) == wall or just_before.replace(tzinfo=None) < wall < shown.replace(tzinfo=None)
    assert not shown.fold


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "/etc/passwd", "../UTC", "Europe"])
def test_a_zone_that_does_not_exist_is_refused(name):
    with pytest.raises(InvalidSchedule, match="there is no time zone"):
        zone_named(name)


def test_utc_needs_no_database():
    assert zone_named("utc") is UTC
