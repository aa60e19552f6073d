"""Measure: a piece of work, and the figures that it yields."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.peers.base import Feature
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A column: its key in the samples, its heading, and which way is better."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    name: str
    title: str
    needs: frozenset[Feature]
    #: The first one is the measure's headline.
    figures: tuple[Figure, ...]
    sample: Callable[[Theatre, Subject], Figures]
    #: Part of --quick.
    quick: bool = False


RATE = Figure(key="rate", title="tasks/s", unit="1/s", better="higher")
CPU = Figure(key="cpu", title="worker CPU/task", unit="µs", better="lower")
PSS = Figure(key="pss", title="memory (PSS)", unit="MB", better="lower")
