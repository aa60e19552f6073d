"""Depth: what a task costs at the head of a queue of 1,000 to 1,000,000 messages; it must not grow."""

from benchmarks.measures.base import Figure, Figures, Measure
from benchmarks.measures.drain import FROM, TIMEOUT, between
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

DEPTHS = {"1k": 1_000, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
ORIGINALS, MOST = 100, 20_000


def _at(theatre: Theatre, subject: Subject, depth: int) -> tuple[float, float]:
    """Tasks a second, and worker CPU (µs a task)."""
    with theatre.stage(subject) as stage:
        stage.client("publish", how="bulk", task=Task.NOOP, count=min(ORIGINALS, depth))
        stage.expect_depth(min(ORIGINALS, depth))
        theatre.broker.multiply(stage.job.queue, depth)
        count = min(MOST, int(depth * 0.8))
        with stage.worker() as worker:
            figures = between(worker.lap(int(count * FROM), TIMEOUT), worker.lap(count, TIMEOUT))
    return figures["rate"], figures["cpu"]


def _depth(theatre: Theatre, subject: Subject) -> Figures:
    figures: Figures = {}
    for name, depth in DEPTHS.items():
        figures[f"rate_{name}"], figures[f"cpu_{name}"] = _at(theatre, subject, theatre.scaled(depth, least=500))
    # The smallest queue is over before a figure settles, so growth is told from the next one.
    return figures | {"growth": figures["cpu_1M"] / max(1.0, figures["cpu_10k"])}


MEASURES = (
    Measure(
        name="depth",
        title="Queue depth from 1k to 1M messages × scale, 2 processes",
        needs=frozenset({Feature.CONSUME, Feature.FOOTPRINT}),
        figures=(
            Figure(key="growth", title="CPU/task, 1M ÷ 10k", unit="×", better="lower"),
            *(Figure(key=f"rate_{name}", title=f"tasks/s at {name}", unit="1/s", better="higher") for name in DEPTHS),
            *(Figure(key=f"cpu_{name}", title=f"CPU/task at {name}", unit="µs", better="lower") for name in DEPTHS),
        ),
        sample=_depth,
    ),
)
