"""Rows: an outcome as plain text cells, for the terminal and for Markdown alike."""

from benchmarks.measures.base import Figure
from benchmarks.outcome import MeasureOutcome, Outcome
from benchmarks.peers.base import Guarantees
from benchmarks.spread import Spread, short
from benchmarks.targets import Judgement

GUARANTEES = "P persistent · C confirmed · M mandatory (no message without a queue goes unnoticed) · L late ack"
NOTHING = "–"


def guarantees(of: Guarantees) -> str:
    letters = zip("PCML", (of.persistent, of.confirmed, of.mandatory, of.late_ack), strict=True)
    return "".join(letter if given else "·" for letter, given in letters)


def spread(of: Spread | None) -> str:
    if of is None:
        return NOTHING
    if of.low == of.high:
        return short(of.median)
    return f"{short(of.median)} ({short(of.low)}–{short(of.high)})"


def heading(figure: Figure) -> str:
    return (
        f"{figure.title}, {figure.unit}"
        if figure.unit not in {"", "1/s"} and figure.unit not in figure.title
        else figure.title
    )


def header(outcome: MeasureOutcome, reference: str) -> list[str]:
    figures = outcome.measure.figures
    base = outcome.reference(reference)
    return ["", "PCML", *(heading(figure) for figure in figures), *(f"{figure.key} ÷ {base}" for figure in figures[:2])]


def body(outcome: MeasureOutcome, run: Outcome) -> list[list[str]]:
    """A row a subject: name, guarantees, figures, and the ratios of the first two figures to the reference."""
    figures, base = outcome.measure.figures, outcome.reference(run.reference)
    given = {subject.name: guarantees(subject.variant.guarantees) for subject in run.subjects}
    return [
        [
            name,
            given[name],
            *(spread(outcome.spread(name, figure.key)) for figure in figures),
            *(spread(outcome.ratio(name, base, figure.key)) for figure in figures[:2]),
        ]
        for name in outcome.samples
    ]


def judgement(of: Judgement) -> list[str]:
    return [str(of.target), spread(of.ratio), "holds" if of.holds else "does not hold"]


def versions(run: Outcome) -> dict[str, str]:
    found: dict[str, str] = {}
    for subject in run.subjects:
        found |= subject.versions
    return dict(sorted(found.items()))
