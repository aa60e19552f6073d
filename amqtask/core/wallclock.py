"""What a wall-clock time means in a zone, on the nights of daylight saving too.

A calendar rule (a crontab, a recurrence rule, an aligned interval) is a *walk*: it knows naive wall-clock times only.
This module maps them to instants, and it is the only place that does. Twice a year the map is not one to one:

* Clocks go forward: some wall-clock times do not exist. A rule that *makes up* runs once for all of them, at the first
  instant after the gap; another leaves them out.
* Clocks go back: some wall-clock times happen twice. A rule that *repeats* runs at both, another at the first only.

Instants are aware datetimes; those that are returned are in UTC.
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from amqtask.errors import InvalidSchedule

Walk: TypeAlias = Callable[[datetime], datetime | None]
"""The first naive wall-clock time of a rule strictly after the given one; None when there is none."""

_TICK = timedelta(microseconds=1)

# Two changes of the offset of one zone are at least 3.9 days apart (Freetown, September 1939; since 1970 six days, read
# from the tz database), so that a look every day sees each.
_STRIDE = 86_400


def zone_named(name: str) -> tzinfo:
    """The zone of the tz database with this name. Raises `InvalidSchedule` where there is none."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSchedule(f"there is no time zone {name!r}: give a name such as Europe/Berlin or UTC") from error


def next_instant(walk: Walk, after: datetime, zone: tzinfo, *, repeats: bool, makes_up: bool) -> datetime | None:
    """The first instant strictly after `after` at which the rule is due in `zone`."""
    instant = after.astimezone(UTC)
    offset = _offset(instant, zone)
    wall = walk(_naive(instant + offset))
    while wall is not None:
        due = (wall - offset).replace(tzinfo=UTC)
        change = _first_change(zone, instant, due)
        if change is None:
            if repeats or not due.astimezone(zone).fold:
                return due
            wall = walk(wall)
            continue
        # Up to the change nothing is due. What the walk found is counted with an offset that is over: look again from
        # the first wall-clock time of the new one.
        offset, instant = _offset(change, zone), change
        first = _naive(change + offset)
        if makes_up and wall < first:
            return change
        wall = walk(first - _TICK)
    return None


def instant_of(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of one naive wall-clock time: the first of two, and the end of the gap where it does not exist."""
    # Zones are less than a day away from UTC, so that this is surely before it.
    before = (wall - timedelta(days=2)).replace(tzinfo=UTC)
    found = next_instant(lambda after: wall if after < wall else None, before, zone, repeats=False, makes_up=True)
    assert found is not None  # a walk with one time to offer, begun before it
    return found


def _first_change(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """The first instant in (after, until] with another offset from UTC than `after`, or None.

    Zones do not tell their changes, so this looks and halves. Changes fall on whole seconds.
    """
    if isinstance(zone, timezone):
        return None  # a fixed offset, UTC for one
    low, last = int(after.timestamp() // 1), int(until.timestamp() // 1)
    offset = _offset_at(low, zone)
    while low < last:
        # From midnight to midnight of UTC, so that thousands of entries that are far away look at the same instants.
        high = min((low // _STRIDE + 1) * _STRIDE, last)
        if (_offset_at(high, zone) if high == last else _offset_at_midnight(high // _STRIDE, zone)) != offset:
            return _bisect(zone, low, high, offset)
        low = high
    return None


@functools.lru_cache(maxsize=20_000)
def _offset_at_midnight(day: int, zone: tzinfo) -> timedelta:
    return _offset_at(day * _STRIDE, zone)


def _bisect(zone: tzinfo, low: int, high: int, offset: timedelta) -> datetime:
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_at(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset_at(seconds: int, zone: tzinfo) -> timedelta:
    return _offset(datetime.fromtimestamp(seconds, UTC), zone)


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)
