"""Plots: one picture a measure, a bar a subject, the spread as a whisker. Needs matplotlib (the bench extra)."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from benchmarks.measures.base import Figure
from benchmarks.outcome import MeasureOutcome, Outcome
from benchmarks.report import rows
from benchmarks.spread import Spread

matplotlib.use("agg")
# Text stays text, and two runs of the same figures give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "amqtask", "font.size": 9})

from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)
from matplotlib.axes import Axes  # noqa: E402

OURS, THEIRS, FLOOR = "#d1495b", "#8d99ae", "#cfd4dc"
WIDTH, ROW, MARGIN = 4.2, 0.34, 1.3


def colour(subject: str) -> str:
    if subject.startswith("amqtask"):
        return OURS
    return FLOOR if subject.startswith(("pika", "pyamqp")) else THEIRS


def _bars(axes: Axes, figure: Figure, measured: Sequence[tuple[str, Spread]]) -> None:
    names = [name for name, _ in measured]
    medians = [spread.median for _, spread in measured]
    whiskers = [
        [spread.median - spread.low for _, spread in measured],
        [spread.high - spread.median for _, spread in measured],
    ]
    axes.barh(names, medians, xerr=whiskers, color=[colour(name) for name in names], ecolor="#444444", capsize=2)
    axes.invert_yaxis()
    axes.set_title(f"{rows.heading(figure)} ({figure.better} is better)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def plot(outcome: MeasureOutcome, run: Outcome, folder: Path, formats: Sequence[str]) -> None:
    figures = outcome.measure.figures[:3]
    height = MARGIN + ROW * len(outcome.samples)
    picture, all_axes = pyplot.subplots(
        1, len(figures), figsize=(1.5 + WIDTH * len(figures), height), sharey=True, squeeze=False
    )
    for axes, figure in zip(all_axes[0], figures, strict=True):
        spreads = [(name, outcome.spread(name, figure.key)) for name in outcome.samples]
        _bars(axes, figure, [(name, spread) for name, spread in spreads if spread is not None])
    picture.suptitle(
        f"{outcome.measure.title}\n{run.date[:10]}, {run.machine['broker']}, {run.rounds} rounds", fontsize=9
    )
    picture.tight_layout()
    for kind in formats:
        picture.savefig(folder / f"{outcome.measure.name}.{kind}", metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(picture)


def write(run: Outcome, folder: Path, formats: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in run.measures:
        plot(outcome, run, folder, formats)
