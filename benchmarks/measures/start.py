"""Start: from the worker's command to the first task that it finished, and what its processes weigh afterwards."""

from benchmarks.measures.base import Figure, Figures, Measure
from benchmarks.measures.drain import TIMEOUT
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

WAITING, WORKED = 1, 1_000


def _start(theatre: Theatre, subject: Subject) -> Figures:
    with theatre.stage(subject) as stage:
        stage.client("publish", how="bulk", task=Task.NOOP, count=WAITING)
        stage.expect_depth(WAITING)
        with stage.worker() as worker:
            return {"seconds": worker.wait_for(WAITING, TIMEOUT) - worker.started_at}


def _memory(theatre: Theatre, subject: Subject) -> Figures:
    with theatre.stage(subject) as stage:
        stage.client("publish", how="bulk", task=Task.NOOP, count=WORKED)
        stage.expect_depth(WORKED)
        with stage.worker() as worker:
            worker.wait_for(WORKED, TIMEOUT)
            sizes = worker.pss_bytes().values()
        stage.check(WORKED)
    return {"pss": sum(sizes) / 1e6, "largest": max(sizes) / 1e6, "processes": len(sizes)}


MEASURES = (
    Measure(
        name="start",
        title="Start to first task, 2 processes",
        needs=frozenset({Feature.CONSUME, Feature.FOOTPRINT}),
        figures=(Figure(key="seconds", title="seconds", unit="s", better="lower"),),
        sample=_start,
        quick=True,
    ),
    Measure(
        name="memory",
        title=f"Memory of the worker with 2 processes, after {WORKED:,} no-ops",
        needs=frozenset({Feature.CONSUME, Feature.FOOTPRINT}),
        figures=(
            Figure(key="pss", title="PSS, all", unit="MB", better="lower"),
            Figure(key="largest", title="PSS, largest process", unit="MB", better="lower"),
            Figure(key="processes", title="processes", unit="", better="lower"),
        ),
        sample=_memory,
        quick=True,
    ),
)
