"""Outcome: what a run measured, before anybody formats it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measures.base import Figure, Measure
from benchmarks.spread import Spread, paired_ratio
from benchmarks.subject import Subject, is_wanted


@dataclass(slots=True, kw_only=True)
class MeasureOutcome:
    """One measure: a sample a round of each subject; None where a sample failed."""

    measure: Measure
    samples: dict[str, list[dict[str, float] | None]] = field(default_factory=dict)

    def add(self, subject: str, sample: dict[str, float] | None) -> None:
        self.samples.setdefault(subject, []).append(sample)

    def values(self, subject: str, figure: str) -> list[float | None]:
        return [sample[figure] if sample else None for sample in self.samples.get(subject, [])]

    def spread(self, subject: str, figure: str) -> Spread | None:
        values = [value for value in self.values(subject, figure) if value is not None]
        return Spread.of(values) if values else None

    def ratio(self, left: str, right: str, figure: str) -> Spread | None:
        a, b = self.values(left, figure), self.values(right, figure)
        return paired_ratio(a, b) if len(a) == len(b) else None

    def reference(self, wanted: str) -> str:
        """The first subject that is meant by the name; where none is, the first one."""
        return next((name for name in self.samples if is_wanted(name, [wanted])), next(iter(self.samples)))

    @property
    def headline(self) -> Figure:
        return self.measure.figures[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The whole run."""

    date: str
    machine: Mapping[str, str]
    rounds: int
    scale: float
    reference: str
    subjects: Sequence[Subject]
    #: Subject → its settings, filled in for two processes.
    settings: Mapping[str, str]
    missing: Mapping[str, str]
    measures: Sequence[MeasureOutcome]
    failures: Sequence[str]
