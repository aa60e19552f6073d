"""`amqtask inspect`: what nodes do."""

import click

from amqtask.app import App
from amqtask.cli.fleet import aim_options, named_arguments, narrow, show, usage
from amqtask.cli.target import Target, target_options
from amqtask.control.commands import Commands, Spec
from amqtask.control.inspecting import INSPECT, from_json
from amqtask.core.message import Json

HIDDEN = ("hello", "commands")


@click.command()
@target_options
@aim_options
@click.option("--list", "listed", is_flag=True, help="Show the commands.")
@click.argument("command", required=False)
@click.argument("words", nargs=-1, metavar="[ARGUMENT]…")
@click.pass_obj
def inspect(
    target: Target,
    /,
    destination: str | None,
    pattern: str | None,
    timeout: float | None,
    expect: int | None,
    as_json: bool,
    listed: bool,
    command: str | None,
    words: tuple[str, ...],
) -> int:
    """Ask nodes COMMAND: active, reserved, stats, …; --list shows all of them."""
    with target.load_any_app() as app:
        known = [*INSPECT, *own_commands(app, "inspect")]
        if listed or command is None:
            list_commands([spec for spec in known if spec.name not in HIDDEN])
            return 0
        spec = Commands(known).find(command) or unknown(command)
        arguments = free_arguments(words) if spec.open else named_arguments(spec, words)
        control = narrow(app.control, destination, pattern, timeout, expect)
        return show(control.call(spec.name, arguments), as_json=as_json)


def unknown(command: str) -> Spec:
    """A command that may be the nodes' own: they know, or say that they do not."""
    return Spec(name=command, kind="control", help="", run=INSPECT[0].run, open=True, lasting=True)


def own_commands(app: App, kind: str) -> list[Spec]:
    """The commands that the app defines."""
    return [from_json(form) for form in app.commands.to_json() if form["kind"] == kind]


def list_commands(specs: list[Spec]) -> None:
    """Each command with its parameters and what it does."""
    width = max(len(usage(spec)) for spec in specs)
    for spec in specs:
        click.echo(f"{usage(spec):<{width}}  {spec.help}")


def free_arguments(words: tuple[str, ...]) -> dict[str, Json]:
    """`name=value` words for a command that only the nodes know.

    Raises:
        click.UsageError: a word is not of that form.
    """
    found: dict[str, Json] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r}: arguments of a command that is not built in are name=value")
        found[name] = value
    return found
