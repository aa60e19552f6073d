"""The command: ``python -m benchmarks``."""

import argparse
import datetime
import importlib.util
import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pika.exceptions import AMQPError
from rich.console import Console

from benchmarks.broker import Broker, broker_url, redis_url
from benchmarks.job import Job
from benchmarks.machine import describe_machine
from benchmarks.measures import MEASURES
from benchmarks.measures.base import Measure
from benchmarks.outcome import MeasureOutcome, Outcome
from benchmarks.report import files, terminal
from benchmarks.spread import in_turns, short
from benchmarks.stage import SampleFailed, Theatre
from benchmarks.subject import ROOT, Subject, discover, is_wanted
from benchmarks.targets import TARGETS
from benchmarks.worker import WorkerFailed

QUICK_SUBJECTS = ("amqtask-processes", "celery-prefork", "dramatiq", "pika-ack-each", "pika-ack-20")
QUICK_SCALE, QUICK_ROUNDS = 0.2, 2
#: Of output that goes to a file.
LOG_WIDTH = 180


def arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure amqtask and its peers side by side."
    )
    parser.add_argument("--quick", action="store_true", help="a few measures and subjects, in under three minutes")
    parser.add_argument("--targets", action="store_true", help="only what the project's promises compare")
    parser.add_argument("--measures", default="", help="names, with commas (default: all)")
    parser.add_argument("--subjects", default="", help="peers or their variants, with commas (default: all)")
    parser.add_argument("--rounds", type=int, help="times that each subject is measured, in turns (default: 5)")
    parser.add_argument("--scale", type=float, help="factor on the number of tasks (default: 1)")
    parser.add_argument("--reference", default="amqtask", help="what ratios are taken to (default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peers installed")
    parser.add_argument("--url", default="", help="the broker (default: one of its own, where RabbitMQ is installed)")
    parser.add_argument("--redis", default="", help="for peers that need it (default: one of its own, as the broker)")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "performance", help="folder of JSON, Markdown and plots"
    )
    parser.add_argument(
        "--plots", default="svg,png", help="formats, with commas; empty for none (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="print the measures and subjects, and stop")
    return parser.parse_args(line)


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen_measures(options: argparse.Namespace) -> list[Measure]:
    wanted = names(options.measures)
    unknown = set(wanted) - {measure.name for measure in MEASURES}
    if unknown:
        raise SystemExit(f"no such measure: {', '.join(sorted(unknown))}; --list names them")
    if wanted:
        return [measure for measure in MEASURES if measure.name in wanted]
    promised = {target.measure for target in TARGETS} if options.targets else {measure.name for measure in MEASURES}
    return [measure for measure in MEASURES if measure.name in promised and (measure.quick or not options.quick)]


def taking_part(measure: Measure, subjects: Sequence[Subject], options: argparse.Namespace) -> list[Subject]:
    able = [subject for subject in subjects if measure.needs <= subject.variant.features]
    if not options.targets:
        return able
    compared = {name for target in TARGETS if target.measure == measure.name for name in (target.left, *target.rights)}
    return [subject for subject in able if is_wanted(subject.name, compared)]


def measure_one(
    measure: Measure, subjects: Sequence[Subject], theatre: Theatre, rounds: int, console: Console, failures: list[str]
) -> MeasureOutcome:
    outcome = MeasureOutcome(measure=measure)
    headline = outcome.headline
    for turn, subject in in_turns(subjects, rounds):
        console.print(f"{measure.name} {turn + 1}/{rounds} {subject.name}: ", end="", highlight=False)
        try:
            sample = measure.sample(theatre, subject)
        except (SampleFailed, WorkerFailed, AMQPError) as error:
            failures.append(f"{measure.name}, round {turn + 1}, {subject.name}: {error}")
            outcome.add(subject.name, None)
            console.print("failed", style="red")
        else:
            outcome.add(subject.name, sample)
            console.print(f"{short(sample[headline.key])} {headline.title}", highlight=False)
    return outcome


def run(options: argparse.Namespace, console: Console) -> Outcome:
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else 5)
    scale = options.scale or (QUICK_SCALE if options.quick else 1.0)
    wanted = names(options.subjects) or (list(QUICK_SUBJECTS) if options.quick else [])
    measures = chosen_measures(options)
    subjects, missing = discover(options.python, wanted)
    failures: list[str] = []
    with (
        broker_url(options.url) as url,
        redis_url(options.redis) as redis,
        tempfile.TemporaryDirectory(prefix="amqtask-benchmarks-") as folder,
    ):
        broker = Broker(url)
        machine = describe_machine(broker.version())
        theatre = Theatre(python=options.python, broker=broker, redis_url=redis, folder=Path(folder), scale=scale)
        outcomes = [
            measure_one(measure, taking_part(measure, subjects, options), theatre, rounds, console, failures)
            for measure in measures
        ]
    shown = {name for outcome in outcomes for name in outcome.samples}
    subjects = [subject for subject in subjects if subject.name in shown]
    job = Job(subject="", url="", redis_url="", queue="")
    return Outcome(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine,
        rounds=rounds,
        scale=scale,
        reference=options.reference,
        subjects=subjects,
        settings={subject.name: subject.settings(job, options.python) for subject in subjects},
        missing=missing,
        measures=[outcome for outcome in outcomes if outcome.samples],
        failures=failures,
    )


def list_all(options: argparse.Namespace, console: Console) -> None:
    subjects, missing = discover(options.python, names(options.subjects))
    for measure in chosen_measures(options):
        able = [subject.name for subject in taking_part(measure, subjects, options)]
        console.print(f"[bold]{measure.name}[/bold]: {measure.title}\n    {', '.join(able)}", highlight=False)
    for name, reason in missing.items():
        console.print(f"not there: {name}: {reason}", markup=False)


def main() -> int:
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # So that a terminated run, too, stops its workers and deletes its virtual host.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    plots = names(options.plots)
    if plots and importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("plots need matplotlib: pip install 'amqtask[bench]', or say --plots ''")
    if options.list:
        list_all(options, console)
        return 0
    outcome = run(options, console)
    terminal.show(outcome, console)
    files.write(outcome, options.output)
    if plots:
        from benchmarks.report import plots as pictures

        pictures.write(outcome, options.output, plots)
    console.print(f"written to {options.output}", highlight=False)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
