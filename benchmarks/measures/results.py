"""Results: one round trip at a time on an idle worker, and many results collected at once."""

import statistics

from benchmarks.measures.base import CPU, RATE, Figure, Figures, Measure
from benchmarks.peers.base import Feature
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

TRIPS, WARM, FAN_OUT = 500, 20, 2_000


def _round_trip(theatre: Theatre, subject: Subject) -> Figures:
    with theatre.stage(subject) as stage:
        stage.client("declare")
        with stage.worker():
            latencies = stage.client("round_trips", count=theatre.scaled(TRIPS, least=100), warm=WARM)["latencies"]
    cuts = statistics.quantiles(latencies, n=100)
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


def _fan_out(theatre: Theatre, subject: Subject) -> Figures:
    count = theatre.scaled(FAN_OUT, least=100)
    with theatre.stage(subject) as stage:
        stage.client("declare")
        with stage.worker() as worker:
            stage.client("round_trips", count=1, warm=WARM)
            cpu = worker.cpu_seconds()
            collected = stage.client("fan_out", count=count, warm=WARM)
            used = worker.cpu_seconds() - cpu
    return {"rate": count / collected["seconds"], "cpu": used / (count + WARM) * 1e6}


MEASURES = (
    Measure(
        name="round-trip",
        title=f"Round trip of one result, idle worker, {TRIPS} × scale times",
        needs=frozenset({Feature.RESULTS}),
        figures=(
            Figure(key="p50", title="p50", unit="ms", better="lower"),
            Figure(key="p99", title="p99", unit="ms", better="lower"),
        ),
        sample=_round_trip,
    ),
    Measure(
        name="fan-out",
        title=f"{FAN_OUT:,} × scale results fanned out and collected",
        needs=frozenset({Feature.RESULTS}),
        figures=(RATE, CPU),
        sample=_fan_out,
    ),
)
