"""Spread: what repeated measurements say, and the ratio of two things measured in turns."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median and both ends; ends rather than a deviation, because there are few rounds and their noise is one-sided."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises ValueError for no values."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(low=min(values), median=statistics.median(values), high=max(values))


def paired_ratio(left: Sequence[float | None], right: Sequence[float | None]) -> Spread | None:
    """left ÷ right, round by round, so that what slowed a whole round cancels out; None where no round has both."""
    ratios = [a / b for a, b in zip(left, right, strict=True) if a is not None and b is not None and b > 0]
    return Spread.of(ratios) if ratios else None


def in_turns(subjects: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """A B A B …, each with the number of its round."""
    for turn in range(rounds):
        for subject in subjects:
            yield turn, subject


def short(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"
