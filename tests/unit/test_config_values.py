"""Durations, sizes, counts and rates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.config.values import SECONDS, parse_count, parse_duration, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("500ms", 0.5),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("7d", 604800.0),
        ("2w", 1209600.0),
        ("1d2h3m4s5ms", 93784.005),
        ("10", 10.0),
        (" 10S ", 10.0),
        (10, 10.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "1x",
        "",
        "s",
        "1 h",
        "-1s",
        "1h-1m",
        "h1",
        -1,
        math.inf,
        math.nan,
        True,
        None,
        [],
        "1e400",
        "9" * 400 + "s",
        "\u0661s",
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(SECONDS))), min_size=1, max_size=5))
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)

    assert parse_duration(text) == pytest.approx(sum(number * SECONDS[unit] for number, unit in parts))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5MiB", 5 * 1024**2),
        ("5 MiB", 5 * 1024**2),
        ("1GB", 10**9),
        ("64k", 64_000),
        ("1.5KiB", 1536),
        ("0", 0),
        (123, 123),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_a_size_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["5XB", "", "-1", -1, 1.5, "1.0001KiB", True, None, "KiB"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


def test_a_count_takes_no_bytes() -> None:
    assert parse_count("100k") == 100_000
    with pytest.raises(ValueError, match="count"):
        parse_count("100kB")


@pytest.mark.parametrize(("value", "rate"), [("10/s", "10/s"), (" 100/m ", "100/m"), (5, "5"), ("0.5/h", "0.5/h")])
def test_a_rate_keeps_celerys_form(value: object, rate: str) -> None:
    assert parse_rate(value) == rate


@pytest.mark.parametrize("value", ["10/d", "/s", "ten/s", True, None, -1, "10/"])
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="rate"):
        parse_rate(value)
