"""Terminal: one table a measure, then settings, versions, targets and failures."""

from rich.console import Console
from rich.table import Table

from benchmarks.outcome import MeasureOutcome, Outcome
from benchmarks.report import rows
from benchmarks.targets import judge


def table(outcome: MeasureOutcome, run: Outcome) -> Table:
    shown = Table(title=outcome.measure.title, title_justify="left", caption_justify="left")
    for number, title in enumerate(rows.header(outcome, run.reference)):
        shown.add_column(title, justify="left" if number < 2 else "right")
    for row in rows.body(outcome, run):
        shown.add_row(*row)
    return shown


def show(run: Outcome, console: Console) -> None:
    console.print(f"{run.date}, {run.rounds} rounds in turns, scale {run.scale:g}: median (lowest–highest)")
    for name, value in run.machine.items():
        console.print(f"  {name}: {value}", highlight=False)
    for outcome in run.measures:
        console.print(table(outcome, run))
    console.print(rows.GUARANTEES)
    console.print("Settings")
    for name, text in run.settings.items():
        console.print(f"  {name}: {text}", highlight=False)
    console.print(
        "Versions: " + ", ".join(f"{name} {version}" for name, version in rows.versions(run).items()), highlight=False
    )
    judgements = [rows.judgement(one) for one in judge(run.measures)]
    if judgements:
        targets = Table("target", "ratio", "", title="Targets", title_justify="left")
        for row in judgements:
            targets.add_row(*row, style=None if row[-1] == "holds" else "red")
        console.print(targets)
    for name, reason in run.missing.items():
        console.print(f"not measured: {name}: {reason}", style="yellow", markup=False)
    for failure in run.failures:
        console.print(failure, style="red", markup=False)
