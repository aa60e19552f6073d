"""Sleep: tasks that wait 10 ms, 1,000 of them in flight in each process (async pools)."""

from benchmarks.measures.base import CPU, PSS, RATE, Figures, Measure
from benchmarks.measures.drain import fill_and_drain
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

COUNT, SECONDS, IN_FLIGHT = 20_000, 0.010, 1_000


def _sleep(theatre: Theatre, subject: Subject) -> Figures:
    with theatre.stage(subject, in_flight=IN_FLIGHT) as stage:
        return fill_and_drain(stage, theatre.scaled(COUNT), task=Task.NAP, extra=[SECONDS])


MEASURES = (
    Measure(
        name="sleep",
        title=f"Tasks that sleep 10 ms, {IN_FLIGHT:,} in flight a process, 2 processes, {COUNT:,} tasks × scale",
        needs=frozenset({Feature.CONSUME, Feature.NAP}),
        figures=(RATE, CPU, PSS),
        sample=_sleep,
    ),
)
