"""Targets: what must hold between two subjects of one run (the project's promises about its speed)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.outcome import MeasureOutcome
from benchmarks.spread import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`left` must be at least, or at most, `factor` times the best of `rights`."""

    measure: str
    figure: str
    left: str
    rights: tuple[str, ...]
    bound: Literal["at least", "at most"]
    factor: float

    def __str__(self) -> str:
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{self.measure} {self.figure}: {self.left} {sign} {self.factor:g} × {' or '.join(self.rights)}"

    def holds(self, ratio: Spread) -> bool:
        return ratio.median >= self.factor if self.bound == "at least" else ratio.median <= self.factor


_ROW = re.compile(r"(?P<measure>\S+) (?P<figure>\S+) (?P<left>\S+) (?P<sign>>=|<=) (?P<factor>[\d.]+) (?P<rights>\S+)")


def parse(table: str) -> tuple[Target, ...]:
    """One target a line: measure, figure, left, >= or <=, factor, the other side (alternatives with commas)."""
    targets = []
    for line in filter(None, map(str.strip, table.splitlines())):
        row = _ROW.fullmatch(" ".join(line.split()))
        if row is None:
            raise ValueError(f"not a target: {line!r}")
        targets.append(
            Target(
                measure=row["measure"],
                figure=row["figure"],
                left=row["left"],
                rights=tuple(row["rights"].split(",")),
                bound="at least" if row["sign"] == ">=" else "at most",
                factor=float(row["factor"]),
            )
        )
    return tuple(targets)


TARGETS = parse(
    """
    drain         rate     amqtask-processes   >=  5     celery-prefork
    drain         rate     amqtask-processes   >=  2     dramatiq
    drain         rate     amqtask-processes   >=  0.75  pika-ack-20
    drain         cpu      amqtask-processes   <=  0.2   celery-prefork
    drain         cpu      amqtask-processes   <=  0.6   dramatiq
    publish-bulk  rate     amqtask-processes   >=  2     celery-prefork
    publish-bulk  rate     amqtask-processes   >=  0.75  pika-ack-each
    publish-each  rate     amqtask-processes   >=  0.85  pika-ack-each
    sleep         rate     amqtask-asyncio     >=  1.4   taskiq,faststream
    sleep         cpu      amqtask-asyncio     <=  0.6   taskiq,faststream
    round-trip    p50      amqtask-processes   <=  0.6   celery-prefork
    fan-out       rate     amqtask-processes   >=  6     celery-prefork
    chord         seconds  amqtask-processes   <=  0.4   celery-prefork-redis
    start         seconds  amqtask-processes   <=  0.4   celery-prefork
    start         seconds  amqtask-processes   <=  1.5   dramatiq
    memory        pss      amqtask-processes   <=  0.5   celery-prefork
    memory        pss      amqtask-processes   <=  1     dramatiq
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    target: Target
    ratio: Spread
    holds: bool


def judge(outcomes: Sequence[MeasureOutcome], targets: Iterable[Target] = TARGETS) -> list[Judgement]:
    """Of the targets whose two sides were both measured."""
    by_name = {outcome.measure.name: outcome for outcome in outcomes}
    judgements = []
    for target in targets:
        outcome = by_name.get(target.measure)
        if outcome is None:
            continue
        ratios = [outcome.ratio(target.left, right, target.figure) for right in target.rights]
        measured = [ratio for ratio in ratios if ratio is not None]
        if measured:
            # The better peer is the harder one to beat, whichever way the target points.
            hardest = (min if target.bound == "at least" else max)(measured, key=lambda ratio: ratio.median)
            judgements.append(Judgement(target=target, ratio=hardest, holds=target.holds(hardest)))
    return judgements
