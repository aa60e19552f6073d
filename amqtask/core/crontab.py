"""Crontab: the minutes of a calendar at which a task is due, in Celery's syntax and in cron's.

The five fields are those of Celery (`docs/userguide/periodic-tasks.rst`, `celery/schedules.py`). All of them must
match: unlike in cron, a day must satisfy `day_of_month` *and* `day_of_week`. cronsim walks the naive calendar;
`wallclock` gives the times their meaning in a zone. (cronsim's own arithmetic in zones is not used. As of 2.8 it leaves
out 02:00 to 02:20 of `*/10 2 * * *` when Lord Howe's clocks go back by half an hour, and started in a repeated hour it
may return the past.)

Daylight saving, where a field is *open* when it contains a star or names every value:

* The clock shows a time twice: a crontab whose minute or hour is open runs both times, so that no interval is longer
  than meant; another runs at the first only.
* The clock leaves times out: a crontab whose hour is written out runs once for those, at the first instant after the
  gap; one with an open hour goes on with the next time that does exist.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TypeAlias

from cronsim import CronSim

from amqtask.core.wallclock import next_instant
from amqtask.errors import InvalidSchedule

CronField: TypeAlias = int | str | Iterable[int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One of the five fields: its name, its values, and the names that some of them have, from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MINUTE = _Kind(name="minute", low=0, high=59)
_HOUR = _Kind(name="hour", low=0, high=23)
_DAY = _Kind(name="day_of_month", low=1, high=31)
_MONTH = _Kind(name="month_of_year", low=1, high=12, names=_MONTHS)
_WEEKDAY = _Kind(name="day_of_week", low=0, high=6, names=_WEEKDAYS)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crontab:
    """Due at the start of every minute that all five fields match, in the zone that is asked about.

    A field is `*`, a number, a name (`mon`, `monday`, `jan`), a range (`1-5`, `fri-mon`, `22-5`: past the end it goes
    on at the beginning), a step (`*/15`, `8-17/2`, `5/15`: from 5 on), or a list of those with commas. Sunday is 0 or
    7. Raises `InvalidSchedule` for a field that says something else, and for a date that no year has.
    """

    minute: str = "*"
    hour: str = "*"
    day_of_week: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    _expression: str = field(init=False, repr=False, compare=False)
    _weekdays: frozenset[int] = field(init=False, repr=False, compare=False)
    _repeats: bool = field(init=False, repr=False, compare=False)
    _makes_up: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        minutes, hours = _parse(_MINUTE, self.minute), _parse(_HOUR, self.hour)
        days, months = _parse(_DAY, self.day_of_month), _parse(_MONTH, self.month_of_year)
        if not any(day <= _LONGEST[month - 1] for day in days for month in months):
            raise InvalidSchedule(f"crontab: no year has day {self.day_of_month} of month {self.month_of_year}")
        fields = zip((_MINUTE, _HOUR, _DAY, _MONTH), (minutes, hours, days, months), strict=True)
        open_hour = _is_open(_HOUR, self.hour, hours)
        # A frozen dataclass has no other way to keep what it computed once.
        object.__setattr__(self, "_expression", " ".join(_written(kind, values) for kind, values in fields) + " *")
        object.__setattr__(self, "_weekdays", frozenset(_parse(_WEEKDAY, self.day_of_week)))
        object.__setattr__(self, "_repeats", open_hour or _is_open(_MINUTE, self.minute, minutes))
        object.__setattr__(self, "_makes_up", not open_hour)

    @classmethod
    def from_string(cls, text: str) -> "Crontab":
        """The five fields of a cron line: minute, hour, day of month, month, day of week; or `@daily` and its like."""
        fields = _MACROS.get(text.strip().lower(), text).split()
        if len(fields) != 5:
            order = "minute, hour, day of month, month, day of week"
            raise InvalidSchedule(f"crontab {text!r}: five fields are needed ({order}), not {len(fields)}")
        minute, hour, day_of_month, month_of_year, day_of_week = fields
        return cls(
            minute=minute,
            hour=hour,
            day_of_week=day_of_week,
            day_of_month=day_of_month,
            month_of_year=month_of_year,
        )

    def __str__(self) -> str:
        return f"{self.minute} {self.hour} {self.day_of_month} {self.month_of_year} {self.day_of_week}"

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        """The first instant after `instant` at which this is due, in UTC; None when there is none within 50 years."""
        return next_instant(self._walk, instant, zone, repeats=self._repeats, makes_up=self._makes_up)

    def anchored(self, origin: datetime) -> "Crontab":
        """Itself: a calendar needs no origin."""
        return self

    def describe(self) -> str:
        fields = (_MINUTE, self.minute), (_HOUR, self.hour), (_DAY, self.day_of_month), (_MONTH, self.month_of_year)
        date = " ".join(_spoken(kind, text) for kind, text in fields)
        weekdays = _spoken(_WEEKDAY, self.day_of_week)
        if weekdays == "*" or _spoken(_DAY, self.day_of_month) == "*":
            return _explained(f"{date} {weekdays}")
        # cronsim would join the two kinds of day with "and" and mean "or".
        _, _, names = _explained(f"0 0 * * {weekdays}").rpartition(" on ")
        return f"{_explained(f'{date} *')}, if it is {names.replace(' and ', ' or ')}"

    def to_dict(self) -> dict[str, object]:
        return {"crontab": str(self)}

    def _walk(self, after: datetime) -> datetime | None:
        # cronsim's days match where day of month *or* day of week does, so that the second is left to us.
        while True:
            wall = next(CronSim(self._expression, after), None)
            if wall is None or wall.isoweekday() % 7 in self._weekdays:
                return wall
            after = wall.replace(hour=23, minute=59, second=59)


def crontab(
    minute: CronField = "*",
    hour: CronField = "*",
    day_of_week: CronField = "*",
    day_of_month: CronField = "*",
    month_of_year: CronField = "*",
) -> Crontab:
    """A `Crontab` as Celery's users write it: a field may also be a number or a collection."""
    return Crontab(
        minute=_text(minute),
        hour=_text(hour),
        day_of_week=_text(day_of_week),
        day_of_month=_text(day_of_month),
        month_of_year=_text(month_of_year),
    )


def _text(value: CronField) -> str:
    if isinstance(value, str):
        return value.replace(" ", "")
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, Iterable):
        raise InvalidSchedule(f"crontab: a field is a text, a number or a list of numbers, not {value!r}")
    return ",".join(
        str(number) for number in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)
    )


def _parse(kind: _Kind, text: str) -> tuple[int, ...]:
    """The values that a field names, in order. Raises `InvalidSchedule`."""
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        values.update(_span(kind, span, open_ended=bool(slash))[:: _step(kind, part, step) if slash else 1])
    return tuple(sorted(values))


def _span(kind: _Kind, text: str, *, open_ended: bool) -> list[int]:
    if text == "*":
        return list(range(kind.low, kind.high + 1))
    first, dash, last = text.partition("-")
    start = _number(kind, first)
    if not dash:
        return [
            value % 7 if kind is _WEEKDAY else value for value in range(start, (kind.high if open_ended else start) + 1)
        ]
    end = _number(kind, last)
    if end < start:
        values = [*range(start, kind.high + 1), *range(kind.low, end + 1)]
    else:
        values = list(range(start, end + 1))
    return [value % 7 for value in values] if kind is _WEEKDAY else values


def _step(kind: _Kind, part: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise InvalidSchedule(f"crontab {kind.name} {part!r}: the step must be a number above 0")
    return int(text)


def _number(kind: _Kind, text: str) -> int:
    if text.isascii() and text.isdigit():
        value = int(text)
        highest = 7 if kind is _WEEKDAY else kind.high
        if not kind.low <= value <= highest:
            raise InvalidSchedule(f"crontab {kind.name}: {value} is not between {kind.low} and {highest}")
        return value
    # As in Celery the first three letters decide, so that `mon`, `monday` and `Mondays` are one.
    for number, name in enumerate(kind.names, start=kind.low):
        if len(text) >= 3 and text[:3].lower() == name and text.isalpha():
            return number
    known = f", a name such as {kind.names[0]}" if kind.names else ""
    raise InvalidSchedule(f"crontab {kind.name}: {text!r} is not a number{known}, a range, a step or a list of those")


def _is_open(kind: _Kind, text: str, values: tuple[int, ...]) -> bool:
    return "*" in text or len(values) == kind.high - kind.low + 1


def _written(kind: _Kind, values: tuple[int, ...]) -> str:
    """Values as a cron field that cronsim reads: a star, or runs."""
    if len(values) == kind.high - kind.low + 1:
        return "*"
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _spoken(kind: _Kind, text: str) -> str:
    """A field as a cron field that cronsim puts into words: names as numbers, but steps of a star as they are."""
    if len(_parse(kind, text)) == kind.high - kind.low + 1:
        return "*"
    return ",".join(part if part.startswith("*") else _written(kind, _parse(kind, part)) for part in text.split(","))


def _explained(expression: str) -> str:
    text = CronSim(expression, datetime.min).explain()
    return text[0].lower() + text[1:]
