import pytest

from benchmarks.measures import MEASURES
from benchmarks.measures.base import RATE, Measure
from benchmarks.outcome import MeasureOutcome
from benchmarks.targets import TARGETS, judge, parse


def outcome(**rates: list[float]) -> MeasureOutcome:
    measure = Measure(name="drain", title="", needs=frozenset(), figures=(RATE,), sample=lambda theatre, subject: {})
    made = MeasureOutcome(measure=measure)
    for subject, values in rates.items():
        for value in values:
            made.add(subject, {"rate": value})
    return made


def test_a_target_holds_when_the_median_ratio_does():
    targets = parse("drain rate ours >= 2 theirs")

    assert [one.holds for one in judge([outcome(ours=[10, 20, 30], theirs=[10, 10, 10])], targets)] == [True]
    assert [one.holds for one in judge([outcome(ours=[10, 19, 30], theirs=[10, 10, 10])], targets)] == [False]


def test_at_most_turns_the_comparison():
    targets = parse("drain rate ours <= 0.5 theirs")

    assert [one.holds for one in judge([outcome(ours=[5], theirs=[10])], targets)] == [True]
    assert [one.holds for one in judge([outcome(ours=[6], theirs=[10])], targets)] == [False]


@pytest.mark.parametrize(("sign", "ratio"), [(">=", 1.0), ("<=", 2.0)])
def test_of_two_peers_the_better_one_counts(sign: str, ratio: float):
    targets = parse(f"drain rate ours {sign} 1.5 slow,fast")

    (judgement,) = judge([outcome(ours=[10], slow=[5], fast=[10])], targets)

    assert judgement.ratio.median == ratio
    assert not judgement.holds


def test_what_was_not_measured_is_not_judged():
    targets = parse("drain rate ours >= 2 theirs\nstart seconds ours <= 1 theirs")

    assert judge([outcome(ours=[10])], targets) == []


def test_a_line_that_is_no_target_is_named():
    with pytest.raises(ValueError, match="drain rate ours"):
        parse("drain rate ours > 2 theirs")


def test_every_target_names_a_measure_and_a_figure_that_exist():
    figures = {(measure.name, figure.key) for measure in MEASURES for figure in measure.figures}

    assert {(target.measure, target.figure) for target in TARGETS} <= figures
