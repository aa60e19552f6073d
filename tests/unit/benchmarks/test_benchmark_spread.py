import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.spread import Spread, in_turns, paired_ratio, short

positive = st.floats(min_value=0.001, max_value=1e6)


def test_subjects_take_turns():
    assert list(in_turns(["a", "b"], 2)) == [(0, "a"), (0, "b"), (1, "a"), (1, "b")]


def test_a_ratio_is_taken_round_by_round():
    # The second round ran on a machine that was half as fast: the ratio does not see it.
    assert paired_ratio([20, 10, 30], [10, 5, 10]) == Spread(low=2, median=2, high=3)


def test_a_round_in_which_one_side_failed_is_left_out():
    assert paired_ratio([20, None, 30], [10, 5, None]) == Spread(low=2, median=2, high=2)


def test_without_a_round_that_has_both_there_is_no_ratio():
    assert paired_ratio([20, None], [None, 5]) is None
    assert paired_ratio([20], [0]) is None


def test_rounds_of_unequal_number_are_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        paired_ratio([1, 2], [1])


def test_nothing_measured_has_no_spread():
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


@given(st.lists(positive, min_size=1))
def test_the_median_lies_between_the_ends(values: list[float]):
    spread = Spread.of(values)

    assert spread.low <= spread.median <= spread.high
    assert {spread.low, spread.high} <= set(values)


@given(st.lists(st.tuples(positive, positive), min_size=1), st.floats(min_value=0.1, max_value=10))
def test_a_slower_machine_changes_no_ratio(rounds: list[tuple[float, float]], factor: float):
    plain = paired_ratio([left for left, _ in rounds], [right for _, right in rounds])
    slowed = paired_ratio([left * factor for left, _ in rounds], [right * factor for _, right in rounds])

    assert plain is not None
    assert slowed is not None
    assert slowed.median == pytest.approx(plain.median)


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (45.67, "45.7"), (1.234, "1.23"), (0.5, "0.50")])
def test_figures_have_three_digits(value: float, text: str):
    assert short(value) == text
