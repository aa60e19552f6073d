"""Delayed: 100,000 no-ops that all fall due at one instant."""

import time

from benchmarks.measures.base import CPU, PSS, Figure, Figures, Measure
from benchmarks.peers.base import Feature
from benchmarks.stage import SampleFailed, Theatre, wait_until
from benchmarks.subject import Subject

COUNT = 100_000
#: Nobody publishes slower than this, so all is published before it falls due.
SLOWEST = 1_000
TIMEOUT = 900.0


def _delayed(theatre: Theatre, subject: Subject) -> Figures:
    count = theatre.scaled(COUNT, least=1_000)
    with theatre.stage(subject) as stage:
        stage.client("declare")
        with stage.worker() as worker:
            cpu = worker.cpu_seconds()
            due = time.time() + 10 + count / SLOWEST
            sent = stage.client("delayed", count=count, due=due)
            if time.time() > due - 2:
                raise SampleFailed("publishing took longer than the delay")
            wait_until(due - 1)
            early, pss = stage.marks.count(), sum(worker.pss_bytes().values())
            if early:
                raise SampleFailed(f"{early} tasks ran before they were due")
            wait_until(due)
            ended = worker.wait_for(count, TIMEOUT)
            late = ended - time.perf_counter() + time.time() - due
            used = worker.cpu_seconds() - cpu
        stage.check(count)
    return {"seconds": late, "published": count / sent["seconds"], "pss": pss / 1e6, "cpu": used / count * 1e6}


MEASURES = (
    Measure(
        name="delayed",
        title=f"{COUNT:,} × scale delayed no-ops that fall due at once, 2 processes",
        needs=frozenset({Feature.CONSUME, Feature.DELAY}),
        figures=(
            Figure(key="seconds", title="from due to all done", unit="s", better="lower"),
            Figure(key="published", title="published/s", unit="1/s", better="higher"),
            PSS,
            CPU,
        ),
        sample=_delayed,
    ),
)
