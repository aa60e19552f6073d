"""Files: the run as JSON, for machines, and as Markdown, for the documentation."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.outcome import Outcome
from benchmarks.report import rows
from benchmarks.spread import Spread
from benchmarks.targets import judge


def _spread(of: Spread | None) -> dict[str, float] | None:
    return dataclasses.asdict(of) if of else None


def as_json(run: Outcome) -> dict[str, Any]:
    return {
        "date": run.date,
        "machine": dict(run.machine),
        "rounds": run.rounds,
        "scale": run.scale,
        "versions": rows.versions(run),
        "missing": dict(run.missing),
        "failures": list(run.failures),
        "subjects": {
            subject.name: {
                "guarantees": dataclasses.asdict(subject.variant.guarantees),
                "settings": run.settings[subject.name],
            }
            for subject in run.subjects
        },
        "measures": {
            outcome.measure.name: {
                "title": outcome.measure.title,
                "figures": [dataclasses.asdict(figure) for figure in outcome.measure.figures],
                "reference": outcome.reference(run.reference),
                "subjects": {
                    name: {
                        "samples": samples,
                        "ratios": {
                            figure.key: _spread(outcome.ratio(name, outcome.reference(run.reference), figure.key))
                            for figure in outcome.measure.figures
                        },
                    }
                    for name, samples in outcome.samples.items()
                },
            }
            for outcome in run.measures
        },
        "targets": [
            {"target": str(one.target), "ratio": _spread(one.ratio), "holds": one.holds} for one in judge(run.measures)
        ],
    }


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *body]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def as_markdown(run: Outcome) -> str:
    lines = [
        "# Figures of one run",
        "",
        f"Measured on {run.date}, {run.rounds} rounds in turns, scale {run.scale:g}.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in run.machine.items()]
    lines += ["- versions: " + ", ".join(f"{name} {version}" for name, version in rows.versions(run).items()), ""]
    lines += ["Each cell is the median (lowest–highest); ratios are taken round by round.", "", rows.GUARANTEES, ""]
    judgements = [rows.judgement(one) for one in judge(run.measures)]
    if judgements:
        lines += ["## Targets", "", *_table(["target", "ratio", ""], judgements), ""]
    for outcome in run.measures:
        lines += [f"## {outcome.measure.title}", ""]
        lines += [f"![{outcome.measure.title}]({outcome.measure.name}.svg)", ""]
        lines += [*_table(rows.header(outcome, run.reference), rows.body(outcome, run)), ""]
    lines += ["## Settings", "", *(f"- {name}: {text}" for name, text in run.settings.items())]
    if run.missing or run.failures:
        lines += ["", "## Not measured", "", *(f"- {name}: {reason}" for name, reason in run.missing.items())]
        lines += [f"- {failure.splitlines()[0]}" for failure in run.failures]
    return "\n".join(lines) + "\n"


def write(run: Outcome, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(as_json(run), indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(as_markdown(run))
