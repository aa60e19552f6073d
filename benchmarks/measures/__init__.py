"""One file a kind of work; ``MEASURES`` is all of it, in the order of the report."""

from benchmarks.measures import canvas, cpu, delayed, depth, drain, payload, publish, results, sleep, start, steady
from benchmarks.measures.base import Measure

MEASURES: tuple[Measure, ...] = (
    *drain.MEASURES,
    *publish.MEASURES,
    *sleep.MEASURES,
    *cpu.MEASURES,
    *results.MEASURES,
    *canvas.MEASURES,
    *steady.MEASURES,
    *payload.MEASURES,
    *start.MEASURES,
    *delayed.MEASURES,
    *depth.MEASURES,
)
