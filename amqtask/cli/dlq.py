"""`amqtask dlq`: look at dead letters, send them again, throw them away."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from amqtask.cli.target import Target, target_options
from amqtask.cli.when import distance
from amqtask.clock import SystemClock
from amqtask.config.topology import build_topology
from amqtask.core.ratelimit import parse_rate
from amqtask.deadletters import FILTERS, DeadLetters, Filter, Letter, Place, Report, dead_letter_queues, destination
from amqtask.drivers import load_driver
from amqtask.errors import UnknownQueue
from amqtask.exits import FAILED

MOST_DELIVERIES = 15
"""From 4.0 to 4.2 a quorum queue with the default limit gives up a message at the twenty-first delivery."""


@click.group()
@target_options
def dlq() -> None:
    """Look at dead letters, send them again, throw them away."""


def _names(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for part in value for name in part.split(",") if name.strip())


def _filters(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[Filter, ...]:
    found = []
    for text in value:
        name, equals, pattern = text.partition("=")
        if not equals or name not in FILTERS:
            raise click.BadParameter(f"{text!r}: write one of {', '.join(FILTERS)}, =, and a pattern with *")
        found.append(Filter(name, pattern))
    return tuple(found)


def _place(context: click.Context, parameter: click.Parameter, value: str | None) -> Place | None:
    if value is None:
        return None
    exchange, colon, key = value.partition(":")
    return Place(exchange, key) if colon else Place("", value)


def _interval(context: click.Context, parameter: click.Parameter, value: str | None) -> float:
    try:
        rate = parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return 1.0 / rate if rate else 0.0


_QUEUES = click.option(
    "-Q", "--queues", multiple=True, callback=_names, metavar="A,B", help="Of these queues only; all by default."
)
_FILTER = click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    callback=_filters,
    metavar="NAME=PATTERN",
    help=f"Only those that fit; again for more conditions. NAME is one of {', '.join(FILTERS)}.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@contextmanager
def _open(target: Target, queues: Sequence[str], purpose: str) -> Iterator[DeadLetters]:
    config = target.load_config().config
    found = dead_letter_queues(build_topology(config), queues)
    if not found:
        raise UnknownQueue("no queue of the configuration has dead letters; name one with -Q")
    address = config.broker.addresses()[0].named(f"amqtask {purpose}")
    connection = load_driver(config.broker.driver).connect(address, config.broker.connect_timeout)
    try:
        yield DeadLetters(connection, found, SystemClock())
    finally:
        connection.close()


@dlq.command("list")
@target_options
@_QUEUES
@_FILTER
@click.option("-n", "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Of each queue.")
@click.option("--all", "one_by_one", is_flag=True, help="Each message, not groups of the same error.")
@_JSON
@click.pass_obj
def list_(
    target: Target,
    /,
    queues: tuple[str, ...],
    filters: tuple[Filter, ...],
    limit: int,
    one_by_one: bool,
    as_json: bool,
) -> None:
    """List dead letters, grouped by their error. They stay where they are."""
    with _open(target, queues, "dlq list") as letters:
        counts = letters.count()
        found = [letter for letter in letters.look(limit) if all(wanted.takes(letter) for wanted in filters)]
    now = datetime.now(UTC)
    if as_json:
        for letter in found:
            click.echo(json.dumps(_form(letter), default=str, ensure_ascii=False))
        return
    if one_by_one:
        for letter in found:
            click.echo(f"{letter.id}  {letter.task}  {_age(letter, now)}  {letter.where}  {_why(letter)}")
    else:
        _groups(found, now)
    for queue, count in counts.items():
        click.echo(f"{queue}: {count} dead letters" + (f", looked at {limit}" if count > limit else ""), err=True)
    _warn(found)


@dlq.command()
@target_options
@click.argument("task_id", metavar="ID")
@_QUEUES
@_JSON
@click.pass_obj
def show(target: Target, /, task_id: str, queues: tuple[str, ...], as_json: bool) -> int:
    """Show the dead letters whose task's ID is, or begins with, this one."""
    with _open(target, queues, "dlq show") as letters:
        found = [letter for letter in letters.look(sys.maxsize) if letter.id.startswith(task_id)]
    for letter in found:
        click.echo(json.dumps(_form(letter), default=str, ensure_ascii=False) if as_json else _text(letter))
    if not found:
        click.echo(f"error: no dead letter of a task {task_id}", err=True)
    return 0 if found else FAILED


@dlq.command()
@target_options
@_QUEUES
@_FILTER
@click.option("--rate", "interval", callback=_interval, metavar="N/s", help="At the most so many: 10/s, 200/m.")
@click.option("--to", callback=_place, metavar="QUEUE|EXCHANGE:KEY", help="Not to the queue where it died, but there.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Stop after so many.")
@_JSON
@click.pass_obj
def replay(
    target: Target,
    /,
    queues: tuple[str, ...],
    filters: tuple[Filter, ...],
    interval: float,
    to: Place | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Send dead letters again, with all their retries, each to the queue where it died.

    Each is confirmed before it is taken out. Cut in the middle, nothing is lost and one at the most is there twice.
    """
    with _open(target, queues, "dlq replay") as letters, _progress(letters) as progress:
        report = letters.replay(filters, to=to, interval=interval, most=limit, progress=progress)
    return _say(report, "replayed", as_json)


@dlq.command()
@target_options
@_QUEUES
@_FILTER
@click.option("--force", is_flag=True, help="Do not ask.")
@_JSON
@click.pass_obj
def purge(target: Target, /, queues: tuple[str, ...], filters: tuple[Filter, ...], force: bool, as_json: bool) -> int:
    """Throw dead letters away."""
    with _open(target, queues, "dlq purge") as letters:
        counts = letters.count()
        if sum(counts.values()) and not force:
            which = "those that fit among " if filters else ""
            click.confirm(f"Throw away {which}{sum(counts.values())} dead letters?", abort=True, err=True)
        with _progress(letters) as progress:
            report = letters.purge(filters, progress)
    return _say(report, "thrown away", as_json)


@contextmanager
def _progress(letters: DeadLetters) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("dead letters", total=sum(letters.count().values()))
        yield lambda seen: bar.update(line, completed=seen)


def _say(report: Report, what: str, as_json: bool) -> int:
    if as_json:
        failures = [{"id": letter_id, "error": error} for letter_id, error in report.failures]
        key = what.replace(" ", "_")
        click.echo(json.dumps({key: report.done, "passed_over": report.passed_over, "failures": failures}))
    else:
        passed_over = f", {report.passed_over} did not fit" if report.passed_over else ""
        click.echo(f"{report.done} {what}{passed_over}")
        for letter_id, error in report.failures:
            click.echo(f"error: {letter_id or 'a message without an id'}: {error}", err=True)
    return FAILED if report.failures else 0


def _groups(letters: Sequence[Letter], now: datetime) -> None:
    groups: dict[tuple[str, str, str], list[Letter]] = {}
    for letter in letters:
        groups.setdefault((letter.kind, letter.task, letter.death.queue), []).append(letter)
    for (kind, task, queue), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        times = sorted(letter.death.time for letter in members if letter.death.time is not None)
        ages = f"{distance(times[0] - now)} … {distance(times[-1] - now)}" if len(times) > 1 else _age(members[0], now)
        click.echo(f"{len(members):>6}  {kind}  {task or 'no task'}  of {queue or 'an unknown queue'}  {ages}")
        detail = members[0].death.detail.partition("\n")[0]
        click.echo(f"        {detail[:100]}\n        e.g. {members[0].id}")


def _age(letter: Letter, now: datetime) -> str:
    return "at an unknown time" if letter.death.time is None else distance(letter.death.time - now)


def _why(letter: Letter) -> str:
    detail = letter.death.detail.partition("\n")[0]
    return f"{letter.kind}: {detail}" if detail else letter.kind


def _warn(letters: Sequence[Letter]) -> None:
    most = max((letter.deliveries or 0 for letter in letters), default=0)
    if most >= MOST_DELIVERIES:
        click.echo(
            f"warning: some were delivered {most} times. From RabbitMQ 4.0 to 4.2 each look counts, and a quorum queue"
            " without a delivery limit of its own drops a message after 20; give the queue `delivery_limit: -1`",
            err=True,
        )


def _form(letter: Letter) -> dict[str, Any]:
    death, headers = letter.death, letter.envelope.headers
    return {
        "id": letter.id,
        "task": letter.task,
        "reason": death.reason,
        "error": death.error,
        "detail": death.detail,
        "traceback": death.traceback,
        "queue": death.queue,
        "exchange": death.exchange,
        "routing_key": death.routing_key,
        "time": None if death.time is None else death.time.isoformat(),
        "node": death.node,
        "in": letter.where,
        "retries": headers.get("retries"),
        "crashes": headers.get("x-aqt-crashes", 0),
        "deaths": headers.get("x-death", []),
        "deliveries": letter.deliveries,
        "args": headers.get("argsrepr"),
        "kwargs": headers.get("kwargsrepr"),
        "size": len(letter.envelope.body),
    }


def _text(letter: Letter) -> str:
    form, place = _form(letter), destination(letter)
    lines = [f"{letter.id}  {letter.task or 'no task'}", f"  {'why':<12}{_why(letter)}"]
    names = ("reason", "queue", "exchange", "routing_key", "time", "node", "in", "retries", "crashes", "args", "kwargs")
    lines += [f"  {name:<12}{form[name]}" for name in names if form[name] not in (None, "", 0)]
    lines.append(f"  {'replayed to':<12}{place or 'give --to'}")
    if letter.death.traceback:
        lines.append(letter.death.traceback.rstrip())
    return "\n".join(lines)
