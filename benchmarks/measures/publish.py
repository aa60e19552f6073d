"""Publish: one by one and in bulk, into a queue that nobody reads, until the broker has everything."""

import functools
from typing import Literal

from benchmarks.measures.base import Figure, Figures, Measure
from benchmarks.peers.base import Feature, Task
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

ONE_BY_ONE, BULK, WARM = 5_000, 20_000, 200

PUBLISH_RATE = Figure(key="rate", title="messages/s", unit="1/s", better="higher")
PUBLISH_CPU = Figure(key="cpu", title="publisher CPU/message", unit="µs", better="lower")


def _publish(theatre: Theatre, subject: Subject, *, how: Literal["each", "bulk"], count: int) -> Figures:
    count = theatre.scaled(count) + WARM
    with theatre.stage(subject) as stage:
        sent = stage.client("publish", how=how, task=Task.NOOP, count=count, warm=WARM)
        stage.expect_depth(count)
    return {"rate": sent["timed"] / sent["seconds"], "cpu": sent["cpu"] / sent["timed"] * 1e6}


MEASURES = (
    Measure(
        name="publish-each",
        title=f"Publish one by one, {ONE_BY_ONE:,} messages × scale",
        needs=frozenset({Feature.PUBLISH}),
        figures=(PUBLISH_RATE, PUBLISH_CPU),
        sample=functools.partial(_publish, how="each", count=ONE_BY_ONE),
        quick=True,
    ),
    Measure(
        name="publish-bulk",
        title=f"Publish in bulk, {BULK:,} messages × scale",
        needs=frozenset({Feature.PUBLISH}),
        figures=(PUBLISH_RATE, PUBLISH_CPU),
        sample=functools.partial(_publish, how="bulk", count=BULK),
        quick=True,
    ),
)
