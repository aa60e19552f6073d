"""Solar: tied to the sun at a place. astral knows where the sun stands; when an event happens is defined here.

The heights are Celery's (`celery/schedules.py`): at sunrise and sunset the centre of the sun is 0.833° below the
horizon (its upper edge on the horizon, 34′ of refraction), at the dawns and dusks 6°, 12° and 18°. The sun rises from
one solar midnight to noon and sets from noon to the next midnight, so that each event happens at most once in each half
of a solar day; where it does not reach the height, as in polar summers and winters, that day has none. Zones play no
part.
"""

import difflib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from amqtask.errors import ExtraMissing, InvalidSchedule

# The height of the sun's centre, in degrees. None: the highest of the day, whatever that is.
_RISING = {"dawn_astronomical": -18.0, "dawn_nautical": -12.0, "dawn_civil": -6.0, "sunrise": -0.833}
_SETTING = {"sunset": -0.833, "dusk_civil": -6.0, "dusk_nautical": -12.0, "dusk_astronomical": -18.0}
EVENTS = (*_RISING, "solar_noon", *_SETTING)

_DAY = timedelta(days=1)
_HALF_DAY = 43_200
_YEAR = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Solar:
    """Due at an event of the sun, one of `EVENTS`, to the whole second.

    `latitude` is positive in the north, `longitude` in the east, in degrees. Raises `InvalidSchedule`.
    """

    event: str
    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            near = difflib.get_close_matches(self.event, EVENTS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the events are {', '.join(EVENTS)}"
            raise InvalidSchedule(f"solar: there is no event {self.event!r}: {hint}")
        if not -90 <= self.latitude <= 90:
            raise InvalidSchedule(f"solar: the latitude {self.latitude} is not between -90 and 90")
        if not -180 <= self.longitude <= 180:
            raise InvalidSchedule(f"solar: the longitude {self.longitude} is not between -180 and 180")

    def next_after(self, instant: datetime, zone: tzinfo) -> datetime | None:
        """The first event after `instant`, in UTC; None when a whole year has none. The zone does not matter.

        Raises `ExtraMissing` where astral is not installed.
        """
        # A solar day is up to half a day away from the day of UTC, and its evening up to half a day after its noon.
        first = instant.astimezone(UTC).date() - _DAY - _DAY
        for number in range(_YEAR + 4):
            found = self._on(first + number * _DAY)
            if found is not None and found > instant:
                return found
        return None

    def anchored(self, origin: datetime) -> "Solar":
        """Itself: the sun needs no origin."""
        return self

    def describe(self) -> str:
        north, east = "N" if self.latitude >= 0 else "S", "E" if self.longitude >= 0 else "W"
        kind, _, name = self.event.partition("_")
        words = f"{name} {kind}" if name and kind != "solar" else self.event.replace("_", " ")
        return f"at {words}, {abs(self.latitude):g}°{north} {abs(self.longitude):g}°{east}"

    def to_dict(self) -> dict[str, object]:
        return {"solar": self.event, "latitude": self.latitude, "longitude": self.longitude}

    def _on(self, day: date) -> datetime | None:
        """The event of one solar day, the day of this date whose noon is nearest to 12:00 UTC less the longitude."""
        noon = _noon(self.latitude, self.longitude, day)
        if self.event == "solar_noon":
            return noon
        if self.event in _RISING:
            return self._crossing(noon - timedelta(seconds=_HALF_DAY), _RISING[self.event], rising=True)
        return self._crossing(noon, _SETTING[self.event], rising=False)

    def _crossing(self, start: datetime, height: float, *, rising: bool) -> datetime | None:
        """The first whole second of the half day from `start` at which the sun has crossed `height`, or None."""

        def crossed(seconds: int) -> bool:
            above = _elevation(self.latitude, self.longitude, start + timedelta(seconds=seconds)) >= height
            return above is rising

        low, high = 0, _HALF_DAY
        if crossed(low) or not crossed(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if crossed(middle):
                high = middle
            else:
                low = middle
        return start + timedelta(seconds=high)


def solar(event: str, latitude: float, longitude: float) -> Solar:
    """A `Solar` as Celery's users write it."""
    return Solar(event=event, latitude=latitude, longitude=longitude)


def _noon(latitude: float, longitude: float, day: date) -> datetime:
    try:
        from astral import Observer
        from astral.sun import noon
    except ImportError as error:
        raise ExtraMissing("solar schedules need astral: pip install 'amqtask[solar]'") from error
    return noon(Observer(latitude, longitude), day, tzinfo=UTC)


def _elevation(latitude: float, longitude: float, instant: datetime) -> float:
    from astral import Observer
    from astral.sun import elevation

    return elevation(Observer(latitude, longitude), instant, with_refraction=False)
