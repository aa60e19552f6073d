"""`amqtask beat`: run a scheduler of periodic tasks; list and edit what it sends."""

import json
import os
import selectors
import signal
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import click

from amqtask.beat.desk import Desk, Row
from amqtask.beat.program import Beat
from amqtask.cli.json_value import json_value
from amqtask.cli.target import Target, target_options
from amqtask.cli.when import spoken
from amqtask.config.beat import parse_schedule
from amqtask.errors import BrokerError, InvalidSchedule
from amqtask.log import set_up

LEVELS = ["debug", "info", "warning", "error", "critical"]


@click.group(invoke_without_command=True)
@target_options
@click.option(
    "-l", "--log-level", "--loglevel", type=click.Choice(LEVELS, case_sensitive=False), help="The least level."
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Lines to read, or a JSON object a line.")
@click.option("--bound-to", type=int, hidden=True, help="Stop when this descriptor ends: whoever started it is gone.")
@click.pass_context
def beat(context: click.Context, log_level: str | None, log_format: str | None, bound_to: int | None) -> None:
    """Send periodic tasks, until it is stopped. Any number may run; one leads.

    Without -A it sends what the configuration says, and knows no tasks.
    """
    if context.invoked_subcommand is None:
        context.exit(_run(context.ensure_object(Target), log_level, log_format, bound_to))


def _run(target: Target, log_level: str | None, log_format: str | None, bound_to: int | None) -> int:
    with target.load_any_app() as app:
        config = app.config
        set_up((log_level or config.log.level).upper(), log_format or config.log.format)
        waiting = _Waiting(bound_to)
        program = Beat(app, wake=waiting.wake)
        program.start()
        try:
            waiting.wait()
        finally:
            program.stop()
        if program.failure is not None:
            failure: BrokerError = program.failure
            raise failure
    return 0


class _Waiting:
    """Waits for a signal, for `wake`, or for the end of a descriptor."""

    def __init__(self, bound_to: int | None) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _nothing)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reader, selectors.EVENT_READ)
        if bound_to is not None:
            self._selector.register(bound_to, selectors.EVENT_READ)

    def wake(self) -> None:
        os.write(self._writer, b"\0")

    def wait(self) -> None:
        while not self._selector.select():
            continue


def _nothing(signum: int, frame: FrameType | None) -> None:
    """The wakeup descriptor ends the wait."""


@beat.command("list")
@target_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def list_(target: Target, as_json: bool) -> None:
    """List the periodic tasks: what they run, when they ran last and run next, in their zones."""
    with target.load_any_app() as app, Desk(app) as desk:
        rows, problems = desk.rows()
        if as_json:
            click.echo(json.dumps([_form(row) for row in rows], indent=2, ensure_ascii=False))
        else:
            _table(rows, _now(app.clock.time()))
        for name, problem in problems.items():
            click.echo(f"warning: {name}: {problem}", err=True)


@beat.command()
@target_options
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(target: Target, name: str, as_json: bool) -> None:
    """Show all of one periodic task, and its next five times."""
    with target.load_any_app() as app, Desk(app) as desk:
        row = desk.row(name)
        if as_json:
            click.echo(json.dumps(_form(row), indent=2, ensure_ascii=False))
            return
        now, schedule = _now(app.clock.time()), row.entry.schedule.anchored(row.state.since)
        click.echo(f"{name} ({row.origin}) runs {row.entry.task} {schedule.describe()}")
        for key, value in row.entry.to_dict().items():
            if key not in ("name", "task"):
                click.echo(f"  {key:<15} {json.dumps(value, ensure_ascii=False)}")
        click.echo(f"  {'last run':<15} {spoken(row.state.last_run, now, row.zone)}; {row.state.count} in all")
        due = row.state.next_run
        for number in range(5):
            if due is None:
                break
            click.echo(f"  {'next runs' if number == 0 else '':<15} {spoken(due, now, row.zone)}")
            due = schedule.next_after(due, row.zone)


def _schedule(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, object] | None:
    """A schedule of the command line: a text, or a mapping as JSON."""
    if value is None:
        return None
    try:
        given = json.loads(value) if value.lstrip().startswith("{") else value
        return parse_schedule(given).to_dict()
    except (InvalidSchedule, json.JSONDecodeError) as error:
        raise click.BadParameter(str(error), context, parameter) from None


_OPTIONS = (
    click.option("-a", "--args", metavar="JSON", callback=json_value(list), help="Positional arguments."),
    click.option("-k", "--kwargs", metavar="JSON", callback=json_value(dict), help="Keyword arguments."),
    click.option("-o", "--options", metavar="JSON", callback=json_value(dict), help="Options, as of apply_async."),
    click.option("--timezone", help="The zone of its wall-clock times."),
    click.option("--catch-up", type=click.Choice(["none", "last", "all"]), help="What is sent after an outage."),
    click.option("--catch-up-limit", type=click.IntRange(min=1), help="all: at the most so many."),
    click.option("--jitter", type=click.FloatRange(min=0), help="By how many seconds it may be late, by chance."),
    click.option("--expires", type=click.FloatRange(min=0, min_open=True), help="Worth running for so many seconds."),
)


def _entry_options(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@beat.command()
@target_options
@click.argument("name")
@click.argument("task")
@click.option("-s", "--schedule", required=True, callback=_schedule, help='30s, "*/5 * * * *", or a mapping as JSON.')
@_entry_options
@click.pass_obj
def add(target: Target, /, name: str, task: str, **given: Any) -> None:
    """Add the periodic task NAME, which runs TASK."""
    form = {"task": task, **_given(given)}
    with target.load_any_app() as app, Desk(app) as desk:
        _said("added", desk.add(name, form), _now(app.clock.time()))


@beat.command()
@target_options
@click.argument("name")
@click.option("--task", help="The task that it runs.")
@click.option("-s", "--schedule", callback=_schedule, help='30s, "*/5 * * * *", or a mapping as JSON.')
@_entry_options
@click.option("--undo", is_flag=True, help="Take all edits back: as configuration and code define it.")
@click.pass_obj
def edit(target: Target, /, name: str, undo: bool, **given: Any) -> None:
    """Change the periodic task NAME; what is not given stays."""
    patch = _given(given)
    if undo == bool(patch):
        raise click.UsageError("say what to change, or --undo")
    with target.load_any_app() as app, Desk(app) as desk:
        row = desk.restore(name) if undo else desk.edit(name, patch)
        _said("changed", row, _now(app.clock.time()))


@beat.command()
@target_options
@click.argument("name")
@click.pass_obj
def pause(target: Target, name: str) -> None:
    """Send the periodic task NAME no more, until it is resumed."""
    with target.load_any_app() as app, Desk(app) as desk:
        _said("paused", desk.edit(name, {"enabled": False}), _now(app.clock.time()))


@beat.command()
@target_options
@click.argument("name")
@click.pass_obj
def resume(target: Target, name: str) -> None:
    """Send the periodic task NAME again; what was due while it paused is not made up for."""
    with target.load_any_app() as app, Desk(app) as desk:
        _said("resumed", desk.edit(name, {"enabled": True}), _now(app.clock.time()))


@beat.command("run-now")
@target_options
@click.argument("name")
@click.pass_obj
def run_now(target: Target, name: str) -> None:
    """Send the periodic task NAME once, at once, and print the task's id. Its schedule goes on as it was."""
    with target.load_any_app() as app, Desk(app) as desk:
        click.echo(desk.run_now(name))


@beat.command()
@target_options
@click.argument("name")
@click.pass_obj
def remove(target: Target, name: str) -> None:
    """Remove the periodic task NAME; `edit --undo` brings one back that configuration or code defines."""
    with target.load_any_app() as app, Desk(app) as desk:
        desk.remove(name)
    click.echo(f"{name}: removed")


def _given(options: dict[str, Any]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def _now(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _said(what: str, row: Row, now: datetime) -> None:
    click.echo(f"{row.entry.name}: {what}; {_next(row, now)}")


def _next(row: Row, now: datetime) -> str:
    if not row.entry.enabled:
        return "paused"
    if row.state.next_run is not None and row.state.next_run <= now:
        return "due now"
    return f"next {spoken(row.state.next_run, now, row.zone)}"


def _table(rows: list[Row], now: datetime) -> None:
    lines = [
        (
            row.entry.name + ("" if row.origin == "defined" else f" ({row.origin})"),
            row.entry.task,
            row.entry.schedule.describe(),
            spoken(row.state.last_run, now, row.zone),
            _next(row, now).removeprefix("next "),
            str(row.state.count),
        )
        for row in rows
    ]
    cells = [("NAME", "TASK", "RUNS", "LAST", "NEXT", "COUNT"), *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    for line in cells if lines else ():
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    if not rows:
        click.echo("no periodic tasks", err=True)


def _form(row: Row) -> dict[str, object]:
    return {**row.entry.to_dict(), "origin": row.origin, "state": row.state.to_dict()}
