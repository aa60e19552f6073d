"""Canvas: a chord of 1,000 and a chain of 100."""

import functools

from benchmarks.measures.base import Figure, Figures, Measure
from benchmarks.peers.base import Feature
from benchmarks.stage import Theatre
from benchmarks.subject import Subject

CHORD, CHAIN = 1_000, 100
SECONDS = Figure(key="seconds", title="seconds", unit="s", better="lower")


def _run(theatre: Theatre, subject: Subject, *, action: str, count: int) -> Figures:
    with theatre.stage(subject) as stage:
        stage.client("declare")
        with stage.worker():
            return {"seconds": stage.client(action, count=theatre.scaled(count, least=10))["seconds"]}


MEASURES = (
    Measure(
        name="chord",
        title=f"Chord of {CHORD:,} × scale",
        needs=frozenset({Feature.CHORD}),
        figures=(SECONDS,),
        sample=functools.partial(_run, action="chord", count=CHORD),
    ),
    Measure(
        name="chain",
        title=f"Chain of {CHAIN} × scale",
        needs=frozenset({Feature.CHAIN}),
        figures=(SECONDS,),
        sample=functools.partial(_run, action="chain", count=CHAIN),
    ),
)
