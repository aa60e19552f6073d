"""CPU: tasks that compute for 1 and 10 ms; what is left of two cores."""

import functools

from benchmarks.measures.base import CPU, RATE, Figures, Measure
from benchmarks.measures.drain import fill_and_drain
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

#: Milliseconds of computing → number of tasks.
COUNTS = {1: 4_000, 10: 800}


def _burn(theatre: Theatre, subject: Subject, *, milliseconds: int) -> Figures:
    # Tasks that take time should not pile up in one process: a small prefetch, as anyone would set it.
    with theatre.stage(subject, in_flight=20) as stage:
        count = theatre.scaled(COUNTS[milliseconds], least=100)
        return fill_and_drain(stage, count, task=Task.BURN, extra=[milliseconds / 1000])


MEASURES = tuple(
    Measure(
        name=f"cpu-{milliseconds}ms",
        title=f"Tasks that compute {milliseconds} ms, 2 processes, {count:,} tasks × scale",
        needs=frozenset({Feature.CONSUME, Feature.BURN}),
        figures=(RATE, CPU),
        sample=functools.partial(_burn, milliseconds=milliseconds),
    )
    for milliseconds, count in COUNTS.items()
)
