"""Drain: a full queue and workers that empty it; the rate and the CPU time of the steady part."""

import functools

from benchmarks.job import QueueType
from benchmarks.measures.base import CPU, PSS, RATE, Figures, Measure
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Stage, Theatre
from benchmarks.subject import Subject
from benchmarks.worker import Lap

COUNT = 20_000
#: The clock runs between these parts of the work: after all processes have started, before the first of them runs dry.
FROM, TO = 0.2, 0.95
TIMEOUT = 300.0


def drain(stage: Stage, count: int) -> Figures:
    """Empty a queue that holds that many tasks, check the count, and say how fast it went."""
    with stage.worker() as worker:
        first, last = worker.lap(int(count * FROM), TIMEOUT), worker.lap(int(count * TO), TIMEOUT)
        pss = sum(worker.pss_bytes().values())
        worker.wait_for(count, TIMEOUT)
    stage.check(count)
    return between(first, last) | {"pss": pss / 1e6}


def between(first: Lap, last: Lap) -> Figures:
    done = last.count - first.count
    return {"rate": done / (last.instant - first.instant), "cpu": (last.cpu - first.cpu) / done * 1e6}


def fill_and_drain(stage: Stage, count: int, **publish: object) -> Figures:
    sent = stage.client("publish", how="bulk", count=count, **publish)
    stage.expect_depth(count)
    return drain(stage, count) | {"publish_rate": sent["timed"] / sent["seconds"]}


def _noop(theatre: Theatre, subject: Subject, *, queue_type: QueueType) -> Figures:
    with theatre.stage(subject, queue_type=queue_type) as stage:
        return fill_and_drain(stage, theatre.scaled(COUNT), task=Task.NOOP)


MEASURES = (
    Measure(
        name="drain",
        title=f"No-op drain, classic durable queue, 2 processes, {COUNT:,} tasks × scale",
        needs=frozenset({Feature.CONSUME}),
        figures=(RATE, CPU, PSS),
        sample=functools.partial(_noop, queue_type="classic"),
        quick=True,
    ),
    Measure(
        name="drain-quorum",
        title=f"No-op drain, quorum queue, 2 processes, {COUNT:,} tasks × scale",
        needs=frozenset({Feature.CONSUME, Feature.QUORUM}),
        figures=(RATE, CPU, PSS),
        sample=functools.partial(_noop, queue_type="quorum"),
    ),
)
