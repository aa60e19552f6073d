"""Payload: no-ops that carry 100 B, 10 KiB and 1 MiB."""

import functools

from benchmarks.measures.base import CPU, PSS, RATE, Figure, Figures, Measure
from benchmarks.measures.drain import fill_and_drain
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

#: Name, bytes, tasks.
SIZES = (("100B", 100, 10_000), ("10KiB", 10 * 1024, 5_000), ("1MiB", 1024 * 1024, 200))


def _payload(theatre: Theatre, subject: Subject, *, size: int, count: int) -> Figures:
    with theatre.stage(subject, in_flight=20) as stage:
        return fill_and_drain(stage, theatre.scaled(count, least=40), task=Task.NOOP, payload=size)


MEASURES = tuple(
    Measure(
        name=f"payload-{name}",
        title=f"No-ops that carry {name}, 2 processes, {count:,} tasks × scale",
        needs=frozenset({Feature.CONSUME, Feature.PAYLOAD}),
        figures=(RATE, CPU, PSS, Figure(key="publish_rate", title="published/s", unit="1/s", better="higher")),
        sample=functools.partial(_payload, size=size, count=count),
    )
    for name, size, count in SIZES
)
