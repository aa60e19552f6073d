"""RRule: a recurrence rule of iCalendar (RFC 5545, section 3.3.10). dateutil walks it; `wallclock` gives it its zone.

The rule counts in wall-clock times of the zone. On the nights of daylight saving a rule of days, weeks, months or years
is as a crontab with its hour written out: a time that is left out is made up at the first instant after the gap (where
the RFC would shift it by the length of the gap), a time that comes twice is due at the first. A rule of hours, minutes
or seconds is due whenever the clock shows a matching time.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol, cast

from amqtask.core.wallclock import Walk, next_instant
from amqtask.errors import ExtraMissing, InvalidSchedule

_NAMES = {
    "SECONDLY": "second",
    "MINUTELY": "minute",
    "HOURLY": "hour",
    "DAILY": "day",
    "WEEKLY": "week",
    "MONTHLY": "month",
    "YEARLY": "year",
}
# Those that are always of one length, on the clock's face.
_LENGTHS = {
    "SECONDLY": timedelta(seconds=1),
    "MINUTELY": timedelta(minutes=1),
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}
_UNTIL_UTC = re.compile(r"(\d{8}T\d{6})Z")
_FORMAT = "%Y%m%dT%H%M%S"
_HORIZON = timedelta(days=50 * 366)


class _Rule(Protocol):
    """What is used of dateutil's rrule."""

    def after(self, dt: datetime, inc: bool = False) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RRule:
    """Due as a rule such as `FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0` says.

    `start` is iCalendar's DTSTART: the rule's phase, the parts that it leaves open, and the first time that may be due.
    It is a wall-clock time where it is naive; without one the rule starts when beat first sees it (`anchored`).
    Raises `InvalidSchedule`.
    """

    rule: str
    start: datetime | None = None
    _parts: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = self.rule.strip().upper().removeprefix("RRULE:")
        parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
        if parts.get("FREQ") not in _NAMES or any(not value for value in parts.values()) or ":" in text:
            raise InvalidSchedule(f"rrule {self.rule!r}: one rule is needed, with FREQ={'|'.join(_NAMES)}")
        if "COUNT" in parts and "UNTIL" in parts:
            raise InvalidSchedule(f"rrule {self.rule!r}: COUNT and UNTIL exclude each other")
        if not parts.get("INTERVAL", "1").isdigit() or parts.get("INTERVAL") == "0":
            raise InvalidSchedule(f"rrule {self.rule!r}: INTERVAL must be a number above 0")
        object.__setattr__(self, "_parts", parts)

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        """The first time of the rule after `instant`, in UTC; None when the rule has ended or has none in 50 years.

        Raises `ExtraMissing` where dateutil is not installed, and `InvalidSchedule` for what dateutil refuses.
        """
        sub_daily = self._parts["FREQ"] in ("HOURLY", "MINUTELY", "SECONDLY")
        start = self._start(instant, zone)
        return next_instant(self._walk(start, zone), instant, zone, repeats=sub_daily, makes_up=not sub_daily)

    def anchored(self, origin: datetime) -> "RRule":
        """The rule, started at this instant where it has no start of its own."""
        return self if self.start else replace(self, start=origin.astimezone(UTC))

    def describe(self) -> str:
        count, unit = self._interval(), _NAMES[self._parts["FREQ"]]
        return f"every {unit if count == 1 else f'{count} {unit}s'} ({_joined(self._parts)})"

    def to_dict(self) -> dict[str, object]:
        written: dict[str, object] = {"rrule": self.rule}
        return written | {"start": self.start.isoformat()} if self.start else written

    def _start(self, instant: datetime, zone: tzinfo) -> datetime:
        start = self.start or instant
        if start.tzinfo is not None:
            start = start.astimezone(zone)
        return start.replace(tzinfo=None, microsecond=0)

    def _walk(self, start: datetime, zone: tzinfo) -> Walk:
        parts = dict(self._parts)
        until = _UNTIL_UTC.fullmatch(parts.get("UNTIL", ""))
        if until:
            # dateutil compares it with wall-clock times.
            last = datetime.strptime(until[1], _FORMAT).replace(tzinfo=UTC)
            parts["UNTIL"] = last.astimezone(zone).strftime(_FORMAT)

        def walk(after: datetime) -> datetime | None:
            begin = start if "COUNT" in parts else self._later_start(start, after)
            if "COUNT" not in parts and "UNTIL" not in parts:
                return _dateutil(parts | {"UNTIL": (max(begin, after) + _HORIZON).strftime(_FORMAT)}, begin).after(
                    after
                )
            return _dateutil(parts, begin).after(after)

        return walk

    def _later_start(self, start: datetime, after: datetime) -> datetime:
        """A start of the same phase just before `after`: dateutil counts from the start, each time anew."""
        length = _LENGTHS.get(self._parts["FREQ"])
        if length is None or after <= start:
            return start
        step = length * self._interval()
        return start + ((after - start) // step) * step

    def _interval(self) -> int:
        return int(self._parts.get("INTERVAL", "1"))


def _joined(parts: dict[str, str]) -> str:
    return ";".join(f"{key}={value}" for key, value in parts.items())


def _dateutil(parts: dict[str, str], start: datetime) -> _Rule:
    try:
        from dateutil.rrule import rrulestr
    except ImportError as error:
        raise ExtraMissing("rrule schedules need dateutil: pip install 'amqtask[rrule]'") from error
    try:
        return cast(_Rule, rrulestr(_joined(parts), dtstart=start))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidSchedule(f"rrule: {error}") from error
