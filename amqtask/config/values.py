"""The scalar types of the configuration: durations, sizes, counts and rates with units.

After loading, a duration is seconds as a float, a size bytes and a count an integer.
"""

import math
import re
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": 1024,
    "m": 1000**2, "mb": 1000**2, "mib": 1024**2,
    "g": 1000**3, "gb": 1000**3, "gib": 1024**3,
    "t": 1000**4, "tb": 1000**4, "tib": 1024**4,
}  # fmt: skip
COUNTS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|[smhdw]))+")
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|[smhdw])")
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)")
_PLAIN = re.compile(_NUMBER)
_RATE = re.compile(rf"{_NUMBER}(?:/[smh])?")


def parse_duration(value: object) -> float:
    """`30s`, `1h30m`, `500ms`, or a number of seconds.

    Raises:
        ValueError: it is none of these, or it is negative or infinite.
    """
    seconds = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        text = value.strip().lower()
        if _PLAIN.fullmatch(text):
            seconds = float(text)
        elif _DURATION.fullmatch(text):
            seconds = sum(float(number) * SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if 0 <= seconds < math.inf:
        return seconds
    raise ValueError("not a duration; write seconds or units: 500ms, 30s, 5m, 1h30m, 7d, 2w")


def parse_size(value: object) -> int:
    """`64KiB`, `5MiB`, `1GB`, or a number of bytes.

    Raises:
        ValueError: it is none of these, or it is not a whole number of bytes.
    """
    return _scaled(value, BYTES, "not a size; write bytes or units: 64KiB, 5MiB, 1GB")


def parse_count(value: object) -> int:
    """`250`, `100k`, `2M`.

    Raises:
        ValueError: it is none of these, or it is not a whole number.
    """
    return _scaled(value, COUNTS, "not a count; write a whole number, or 100k, 2M")


def parse_rate(value: object) -> str:
    """`10/s`, `100/m`, `5/h`, or a number, which is one a second: Celery's form, kept as text.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and _RATE.fullmatch(value.strip()):
        return value.strip()
    raise ValueError("not a rate; write tasks per second, minute or hour: 10/s, 100/m, 5/h")


def parse_whole(value: object) -> object:
    """What goes on to an integer field: everything but truth values, which Python takes for 0 and 1.

    Raises:
        ValueError: it is true or false.
    """
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports ValueErrors only
    return value


def _scaled(value: object, units: dict[str, int], complaint: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _WITH_UNIT.fullmatch(value.strip())):
        number, unit = match.groups()
        factor = units.get(unit.lower())
        if factor is not None:
            # Only a fraction goes through a float, which cannot hold every large whole number.
            scaled = float(number) * factor if "." in number else int(number) * factor
            if scaled == int(scaled):
                return int(scaled)
    raise ValueError(complaint)


_NUMBER_OR_TEXT = [{"type": "number", "minimum": 0}, {"type": "string"}]


def _schema(examples: list[str], what: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": _NUMBER_OR_TEXT, "examples": examples, "format": what})


Duration: TypeAlias = Annotated[
    float, BeforeValidator(parse_duration), _schema(["500ms", "30s", "1h30m", "7d"], "duration")
]
"""Seconds."""

Size: TypeAlias = Annotated[int, BeforeValidator(parse_size), _schema(["64KiB", "5MiB", "1GB"], "size")]
"""Bytes."""

Count: TypeAlias = Annotated[int, BeforeValidator(parse_count), _schema(["250", "100k"], "count")]

Rate: TypeAlias = Annotated[str, BeforeValidator(parse_rate), _schema(["10/s", "100/m", "5/h"], "rate")]
"""Tasks per second, minute or hour, in Celery's form."""

# The bound stands before the validator, or the JSON Schema would not know it as a bound of a number.
Positive: TypeAlias = Annotated[int, Field(ge=1), BeforeValidator(parse_whole)]
NotNegative: TypeAlias = Annotated[int, Field(ge=0), BeforeValidator(parse_whole)]
Byte: TypeAlias = Annotated[int, Field(ge=0, le=255), BeforeValidator(parse_whole)]
