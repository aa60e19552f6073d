"""What the demo prints at its end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from examples.codestats.source import Stats
from examples.objects import DeadLetter


@dataclass(frozen=True, slots=True)
class Counted:
    """A package's files added up; the nesting is the deepest of all."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    nesting: int = 0

    def plus(self, stats: Stats) -> "Counted":
        """With one more file."""
        return Counted(
            self.files + 1,
            self.lines + stats["lines"],
            self.functions + stats["functions"],
            self.classes + stats["classes"],
            max(self.nesting, stats["nesting"]),
        )


def by_package(counts: Iterable[tuple[str, Stats]]) -> dict[str, Counted]:
    """The files of each package added up, the largest package first."""
    totals: dict[str, Counted] = {}
    for package, stats in counts:
        totals[package] = totals.get(package, Counted()).plus(stats)
    return dict(sorted(totals.items(), key=lambda item: item[1].lines, reverse=True))


def package_table(totals: Mapping[str, Counted], queues: Mapping[str, str], largest: int = 12) -> Table:
    """The largest packages, and those of the queue `hi`; `queues` says which went where."""
    table = _table("package", "queue", "files", "lines", "functions", "classes", "nesting")
    shown = [name for index, name in enumerate(totals) if index < largest or queues[name] == "hi"]
    for name in shown:
        total = totals[name]
        style = "bold green" if queues[name] == "hi" else ""
        numbers = (total.files, total.lines, total.functions, total.classes, total.nesting)
        table.add_row(name, queues[name], *(f"{number:,}" for number in numbers), style=style)
    if len(shown) < len(totals):
        table.add_row(f"… and {len(totals) - len(shown)} more")
    return table


def dead_letter_table(letters: Iterable[DeadLetter]) -> Table:
    """What did not parse, and why."""
    table = _table("dead letter", "in", "error")
    for letter in sorted(letters, key=lambda letter: str(letter.arguments[0])):
        file = Path(str(letter.arguments[0])).name
        table.add_row(file, letter.queue, Text(f"{letter.error}: {letter.detail}", overflow="ellipsis", no_wrap=True))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        is_number = column in Counted.__slots__
        table.add_column(column, justify="right" if is_number else "left")
    return table
