"""Rates and the bucket that keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.ratelimit import Bucket, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", 10.0), ("60/m", 1.0), ("1800/h", 0.5), ("5", 5.0), (3, 3.0), ("0", 0.0), (None, 0.0), ("", 0.0)],
)
def test_a_rate_is_starts_a_second(text: str | int | None, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["often", "10/d", "-1/s", "1/", "1/s/s", "nan", "True"])
def test_what_is_no_rate_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate(text)


def test_starts_are_evenly_spaced_however_often_one_asks() -> None:
    bucket = Bucket(5.0)

    starts = [tick / 100 for tick in range(201) if bucket.take(tick / 100)]

    assert starts == [pytest.approx(number / 5, abs=0.011) for number in range(11)]


def test_asking_late_does_not_lower_the_rate() -> None:
    bucket = Bucket(10.0)
    now, taken = 0.0, 0
    while now < 10.0:
        while bucket.take(now):
            taken += 1
        now += 0.07

    assert taken in (100, 101)


def test_a_pause_saves_nothing_up() -> None:
    bucket = Bucket(1.0)
    assert bucket.take(0.0)

    assert bucket.take(1000.0)
    assert not bucket.take(1000.5)


@given(
    st.floats(0.1, 100.0),
    st.lists(st.floats(0.0, 3.0), max_size=200),
)
def test_never_more_starts_than_the_rate_allows_and_one(rate: float, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(rate), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)

    assert taken <= now * rate * (1 + 1e-9) + 1


@given(st.floats(0.1, 100.0), st.floats(0.0, 10.0))
def test_when_it_is_due_there_is_a_token(rate: float, now: float) -> None:
    bucket = Bucket(rate)
    bucket.take(now)

    due = bucket.due(now)

    assert bucket.take(due)


def test_tokens_that_were_not_taken_in_time_are_there_still_for_a_moment() -> None:
    bucket = Bucket(100.0)
    assert bucket.take(0.0)

    # 0.105 s is ten tokens and a half; the machine was busy.
    assert [bucket.take(0.105) for _ in range(11)] == [True] * 10 + [False]


def test_after_a_rest_there_is_one_token() -> None:
    bucket = Bucket(100.0)
    assert bucket.take(0.0)
    bucket.rest(0.105)

    assert bucket.take(0.105)
    assert not bucket.take(0.105)


def test_another_rate_holds_at_once() -> None:
    bucket = Bucket(1 / 3600)
    assert bucket.take(0.0)
    bucket.rate = 10.0

    assert bucket.due(0.0) == pytest.approx(0.1)


def test_a_token_that_was_put_back_can_be_taken_again() -> None:
    bucket = Bucket(1.0)
    assert bucket.take(0.0)
    bucket.put_back()

    assert bucket.take(0.0)
    assert not bucket.take(0.0)
