"""Steady state: two publishers and two worker processes at once, on one queue."""

from benchmarks.measures.base import CPU, RATE, Figure, Figures, Measure
from benchmarks.measures.drain import FROM, TIMEOUT, TO, between
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

COUNT = 20_000
PUBLISHERS = 2


def _steady(theatre: Theatre, subject: Subject) -> Figures:
    # Marks are numbered from 0 by each publisher, so its share must fill whole rounds of 256 for the check to hold.
    share = max(256, theatre.scaled(COUNT // PUBLISHERS) // 256 * 256)
    count = share * PUBLISHERS
    with theatre.stage(subject) as stage:
        stage.client("declare")
        with stage.worker() as worker:
            clients = [
                stage.start_client("publish", how="bulk", task=Task.NOOP, count=share) for _ in range(PUBLISHERS)
            ]
            first, last = worker.lap(int(count * FROM), TIMEOUT), worker.lap(int(count * TO), TIMEOUT)
            sent = [stage.finish(client) for client in clients]
            worker.wait_for(count, TIMEOUT)
        stage.check(count)
    return between(first, last) | {"publisher_cpu": sum(one["cpu"] for one in sent) / count * 1e6}


MEASURES = (
    Measure(
        name="steady",
        title=f"Publishers and workers together, {PUBLISHERS} publishers, 2 processes, {COUNT:,} tasks × scale",
        needs=frozenset({Feature.CONSUME, Feature.PUBLISH}),
        figures=(RATE, CPU, Figure(key="publisher_cpu", title="publisher CPU/message", unit="µs", better="lower")),
        sample=_steady,
    ),
)
