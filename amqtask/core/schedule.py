"""Schedule: when something is due again. The kinds, what they have in common, and their form in YAML and JSON.

A schedule is a frozen value and answers one question, `next_after`. Its form as a mapping is what people write in YAML
and what run-time edits are kept as; nothing is lost on the way there and back:

    {every: 30}                            every 30 seconds from the first time that beat sees the entry
    {every: 3600, aligned: true}           by the clock: at every full hour of the zone
    {crontab: "*/15 8-17 * * mon-fri"}     or {crontab: {minute: "*/15", hour: "8-17", day_of_week: mon-fri}}
    {solar: sunset, latitude: -37.8, longitude: 145.0}
    {at: "2026-12-24T18:00:00"}            once; the zone's wall clock unless it says otherwise
    {rrule: "FREQ=MONTHLY;BYDAY=-1FR", start: "2026-01-01T09:00:00"}
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol, runtime_checkable

from amqtask.core.crontab import Crontab, crontab
from amqtask.core.fields import Fields
from amqtask.core.rrule import RRule
from amqtask.core.solar import Solar
from amqtask.core.wallclock import instant_of, next_instant
from amqtask.errors import InvalidSchedule

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=36_500)
# A Monday, at midnight: aligned weeks begin where people begin them.
_DAWN_OF_TIME = datetime(1, 1, 1)
_UNITS = {
    "week": timedelta(weeks=1),
    "day": _DAY,
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
}
_KEYS = {
    "every": {"every", "aligned", "origin"},
    "crontab": {"crontab"},
    "solar": {"solar", "latitude", "longitude"},
    "at": {"at"},
    "rrule": {"rrule", "start"},
}


@runtime_checkable
class Schedule(Protocol):
    """What is due again and again, or once. Implementations are frozen values."""

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        """The first instant strictly after `instant` (aware) at which this is due, in UTC; None when there is none."""
        ...

    def anchored(self, origin: datetime) -> "Schedule":
        """The same schedule counted from this instant (aware), where it has no origin of its own."""
        ...

    def describe(self) -> str:
        """What it means, in words that go after "runs"."""
        ...

    def to_dict(self) -> dict[str, object]:
        """Its form for JSON, which `schedule_from_dict` reads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Due every so often.

    Not aligned, it counts real time from its origin, which itself is not due. `aligned` means by the clock of the zone:
    at multiples of the interval since a Monday midnight. Aligned intervals under a day run whenever the clock shows
    such a time, so also twice in an hour that comes twice; longer ones run once for it, and at the first instant after
    the gap when clocks go forward over their time. Raises `InvalidSchedule`.
    """

    every: timedelta
    aligned: bool = False
    origin: datetime | None = None

    def __post_init__(self) -> None:
        if not timedelta() < self.every <= _LONGEST:
            raise InvalidSchedule(f"an interval must be more than 0 and at most 100 years, not {self.every}")
        if self.origin is not None and (self.aligned or self.origin.tzinfo is None):
            raise InvalidSchedule("an interval's origin must have a zone, and an aligned interval has none")

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        if self.aligned:
            sub_daily = self.every < _DAY
            return next_instant(self._walk, instant, zone, repeats=sub_daily, makes_up=not sub_daily)
        origin = (self.origin or instant).astimezone(UTC)
        periods = (instant - origin) // self.every
        return origin + (max(periods, 0) + 1) * self.every

    def anchored(self, origin: datetime) -> "Interval":
        return self if self.aligned or self.origin else replace(self, origin=origin.astimezone(UTC))

    def describe(self) -> str:
        return f"every {_duration(self.every)}{', by the clock' if self.aligned else ''}"

    def to_dict(self) -> dict[str, object]:
        seconds = self.every.total_seconds()
        written: dict[str, object] = {"every": int(seconds) if seconds.is_integer() else seconds}
        if self.aligned:
            written["aligned"] = True
        if self.origin is not None:
            written["origin"] = self.origin.isoformat()
        return written

    def _walk(self, after: datetime) -> datetime:
        return _DAWN_OF_TIME + ((after - _DAWN_OF_TIME) // self.every + 1) * self.every


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Due at one time: an instant, or where it is naive a wall-clock time of the zone.

    A wall-clock time that comes twice is the first; one that is left out is the first instant after the gap.
    """

    at: datetime

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        due = instant_of(self.at, zone) if self.at.tzinfo is None else self.at.astimezone(UTC)
        return due if due > instant else None

    def anchored(self, origin: datetime) -> "Once":
        return self

    def describe(self) -> str:
        return f"once, at {self.at.isoformat(sep=' ')}"

    def to_dict(self) -> dict[str, object]:
        return {"at": self.at.isoformat()}


def as_schedule(value: object) -> Schedule:
    """A schedule from what people write for one.

    That is a schedule, seconds, a timedelta, a cron line (`*/5 * * * *`, `@daily`), a recurrence rule (`FREQ=…`) or a
    mapping as in this module's docstring. Raises `InvalidSchedule`.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, timedelta):
        return Interval(every=value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Interval(every=_seconds(value))
    if isinstance(value, str):
        is_rule = value.strip().upper().startswith(("FREQ=", "RRULE:"))
        return RRule(rule=value) if is_rule else Crontab.from_string(value)
    if isinstance(value, Mapping):
        return schedule_from_dict(value)
    raise InvalidSchedule(f"a {type(value).__name__} is no schedule: give seconds, a cron line or a mapping")


def schedule_from_dict(data: Mapping[str, object]) -> Schedule:
    """The schedule that was written as this mapping. Raises `InvalidSchedule`."""
    kinds = [kind for kind in _KEYS if kind in data]
    if len(kinds) != 1:
        raise InvalidSchedule(f"schedule: one of {', '.join(_KEYS)} is needed, not {', '.join(kinds) or 'none'}")
    kind = kinds[0]
    fields = Fields(f"schedule with `{kind}`", data).only(_KEYS[kind])
    if kind == "every":
        every = data["every"]
        return Interval(
            every=every if isinstance(every, timedelta) else _seconds(fields.number("every")),
            aligned=fields.flag("aligned", False),
            origin=fields.instant("origin") if fields.has("origin") else None,
        )
    if kind == "crontab":
        return _crontab(data["crontab"])
    if kind == "solar":
        return Solar(
            event=fields.text("solar"), latitude=fields.number("latitude"), longitude=fields.number("longitude")
        )
    if kind == "at":
        return Once(at=fields.instant("at"))
    return RRule(rule=fields.text("rrule"), start=fields.instant("start") if fields.has("start") else None)


def _crontab(value: object) -> Crontab:
    if isinstance(value, str):
        return Crontab.from_string(value)
    if not isinstance(value, Mapping):
        raise InvalidSchedule("crontab: a cron line or a mapping of its fields is needed")
    Fields("crontab", value).only({"minute", "hour", "day_of_week", "day_of_month", "month_of_year"})
    return crontab(**value)


def _seconds(value: float) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError) as error:
        raise InvalidSchedule(f"an interval of {value} seconds is not possible") from error


def _duration(length: timedelta) -> str:
    for name, unit in _UNITS.items():
        count, rest = divmod(length, unit)
        if not rest:
            return name if count == 1 else f"{count} {name}s"
    return f"{length.total_seconds():g} seconds"
