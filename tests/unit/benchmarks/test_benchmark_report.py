import io
import json

import pytest
from rich.console import Console

from benchmarks.measures.base import CPU, RATE, Measure
from benchmarks.outcome import MeasureOutcome, Outcome
from benchmarks.peers.base import Guarantees, Variant
from benchmarks.report import files, rows, terminal
from benchmarks.subject import Subject


def subject(name: str, **guarantees: bool) -> Subject:
    given = {"persistent": True, "confirmed": True, "mandatory": True, "late_ack": True} | guarantees
    variant = Variant(name=name, guarantees=Guarantees(**given), features=frozenset(), settings="")
    return Subject(variant=variant, versions={name: "1.0"})


@pytest.fixture
def run() -> Outcome:
    measure = Measure(name="drain", title="Drain", needs=frozenset(), figures=(RATE, CPU), sample=lambda *_: {})
    outcome = MeasureOutcome(measure=measure)
    for ours, theirs in ((20_000.0, 10_000.0), (30_000.0, 10_000.0)):
        outcome.add("theirs", {"rate": theirs, "cpu": 100.0})
        outcome.add("ours-fast", {"rate": ours, "cpu": 50.0})
    outcome.add("theirs", None)
    outcome.add("ours-fast", {"rate": 40_000.0, "cpu": 50.0})
    return Outcome(
        date="2026-01-02 03:04 UTC",
        machine={"broker": "RabbitMQ 3.10.8"},
        rounds=3,
        scale=1.0,
        reference="ours",
        subjects=[subject("theirs", confirmed=False, mandatory=False), subject("ours-fast")],
        settings={"theirs": "as its docs say", "ours-fast": "defaults"},
        missing={"absent": "No module named 'absent'"},
        measures=[outcome],
        failures=["drain, round 3, theirs: 1 missing"],
    )


def test_a_row_has_guarantees_figures_with_spread_and_ratios_to_the_reference(run: Outcome):
    theirs, ours = rows.body(run.measures[0], run)

    assert theirs == ["theirs", "P··L", "10,000", "100", "0.42 (0.33–0.50)", "2.00"]
    assert ours == ["ours-fast", "PCML", "30,000 (20,000–40,000)", "50.0", "1.00", "1.00"]


def test_the_heading_names_what_the_ratio_is_taken_to(run: Outcome):
    assert rows.header(run.measures[0], "ours")[-2:] == ["rate ÷ ours-fast", "cpu ÷ ours-fast"]


def test_without_the_reference_ratios_are_taken_to_the_first_subject(run: Outcome):
    assert run.measures[0].reference("nobody") == "theirs"


def test_the_terminal_shows_settings_versions_and_what_went_wrong(run: Outcome):
    text = io.StringIO()

    terminal.show(run, Console(file=text, width=160))

    for expected in (
        "30,000",
        "theirs: as its docs say",
        "ours-fast 1.0",
        "round 3, theirs",
        "No module named 'absent'",
    ):
        assert expected in text.getvalue()


def test_json_keeps_every_sample(run: Outcome):
    content = json.loads(json.dumps(files.as_json(run)))

    theirs = content["measures"]["drain"]["subjects"]["theirs"]
    assert theirs["samples"] == [{"rate": 10_000.0, "cpu": 100.0}, {"rate": 10_000.0, "cpu": 100.0}, None]
    assert theirs["ratios"]["cpu"] == {"low": 2.0, "median": 2.0, "high": 2.0}
    assert content["subjects"]["theirs"]["guarantees"]["confirmed"] is False


def test_markdown_rows_have_as_many_cells_as_their_heading(run: Outcome):
    table = [line for line in files.as_markdown(run).splitlines() if line.startswith("|")]

    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
