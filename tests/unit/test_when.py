"""Instants in words."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from amqtask.cli.when import distance, spoken

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=0.4), "now"),
        (timedelta(seconds=1), "in 1 second"),
        (timedelta(seconds=-59), "59 seconds ago"),
        (timedelta(minutes=2), "in 2 minutes"),
        (timedelta(minutes=-61), "1 hour ago"),
        (timedelta(hours=36), "in 2 days"),
    ],
)
def test_a_distance_is_told_in_its_largest_unit(away, words):
    assert distance(away) == words


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        (None, "never"),
        (NOON + timedelta(minutes=5), "today 14:05 CEST, in 5 minutes"),
        (NOON + timedelta(hours=11), "tomorrow 01:00 CEST, in 11 hours"),
        (NOON - timedelta(hours=15, seconds=1), "yesterday 22:59:59 CEST, 15 hours ago"),
        (datetime(2026, 12, 24, 17, tzinfo=UTC), "2026-12-24 18:00 CET, in 206 days"),
    ],
)
def test_an_instant_is_told_in_its_zone(instant, words):
    assert spoken(instant, NOON, BERLIN) == words
