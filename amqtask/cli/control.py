"""`amqtask control`: change what nodes do."""

import click

from amqtask.cli.fleet import aim_options, named_arguments, narrow, show
from amqtask.cli.inspect import free_arguments, list_commands, own_commands
from amqtask.cli.target import Target, target_options
from amqtask.control.commands import Commands
from amqtask.control.steering import CONTROL


@click.command()
@target_options
@aim_options
@click.option("--list", "listed", is_flag=True, help="Show the commands.")
@click.option("--persist", is_flag=True, help="Have it hold for nodes that start later, too.")
@click.option("--terminate", is_flag=True, help="revoke: end what runs, too.")
@click.option("--signal", metavar="NAME", help="revoke --terminate: with this signal.")
@click.argument("command", required=False)
@click.argument("words", nargs=-1, metavar="[ARGUMENT]…")
@click.pass_obj
def control(
    target: Target,
    /,
    destination: str | None,
    pattern: str | None,
    timeout: float | None,
    expect: int | None,
    as_json: bool,
    listed: bool,
    persist: bool,
    terminate: bool,
    signal: str | None,
    command: str | None,
    words: tuple[str, ...],
) -> int:
    """Tell nodes COMMAND: revoke, rate_limit, pause, …; --list shows all of them. `state` shows what was set."""
    with target.load_any_app() as app:
        known = [*CONTROL, *own_commands(app, "control")]
        if listed or command is None:
            list_commands(known)
            return 0
        name = "orders" if command == "state" else command
        spec = Commands(known).find(name)
        arguments = free_arguments(words) if spec is None else named_arguments(spec, words)
        if persist:
            if spec is not None and not spec.lasting:
                raise click.UsageError(f"{spec.name} cannot be persisted")
            arguments["persist"] = True
        if terminate:
            arguments["terminate"] = True
        if signal is not None:
            arguments["signal"] = signal
        nodes = narrow(app.control, destination, pattern, timeout, expect)
        return show(nodes.call(name, arguments), as_json=as_json)
