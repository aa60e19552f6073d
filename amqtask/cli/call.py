"""`amqtask call`: publish one task message."""

import json
from datetime import datetime
from typing import Any

import click

from amqtask.app import App
from amqtask.cli.json_value import json_value
from amqtask.cli.target import Target, target_options
from amqtask.errors import NotRegistered
from amqtask.task import CallOptions


@click.command()
@target_options
@click.argument("name")
@click.option("-a", "--args", metavar="JSON", callback=json_value(list), default="[]", help="Positional arguments.")
@click.option("-k", "--kwargs", metavar="JSON", callback=json_value(dict), default="{}", help="Keyword arguments.")
@click.option("--queue", help="Straight to this queue.")
@click.option("--exchange", help="To this exchange.")
@click.option("--routing-key", help="With this routing key.")
@click.option("--priority", type=click.IntRange(0, 255), help="The message's priority.")
@click.option("--countdown", type=click.FloatRange(min=0), help="Run in so many seconds.")
@click.option("--eta", type=click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]), help="Run at this time.")
@click.option("--expires", type=click.FloatRange(min=0), help="Not later than in so many seconds.")
@click.option("--serializer", help="json, msgpack, yaml or pickle.")
@click.option("--task-id", help="The task's id; a new one by default.")
@click.option("--unregistered", is_flag=True, help="Send it although the app of -A has no task of this name.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the result and print it.")
@click.pass_obj
def call(
    target: Target,
    /,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    eta: datetime | None,
    wait: float | None,
    unregistered: bool,
    **given: Any,
) -> None:
    """Publish a call of the task NAME and print its id.

    With -A the app's own tasks are known: their options count, the arguments are checked against their signature, and
    a name that is none of theirs is taken for a mistake.
    """
    options: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
    if eta is not None:
        options["eta"] = eta
    with target.load_any_app() as app:
        if target.app is not None and not unregistered and name not in app.tasks:
            _refuse(app, name)
        result = _send(app, name, args, kwargs, CallOptions(**options))  # type: ignore[typeddict-item]
        click.echo(result.id)
        if wait is not None:
            click.echo(json.dumps(result.get(timeout=wait), default=str, ensure_ascii=False))


def _refuse(app: App, name: str) -> None:
    try:
        app.tasks[name]
    except NotRegistered as error:
        raise click.UsageError(f"{error} (--unregistered sends it all the same)") from None


def _send(app: App, name: str, args: list[Any], kwargs: dict[str, Any], options: CallOptions) -> Any:
    task = app.tasks.find(name)
    if task is not None:
        return task.apply_async(args, kwargs, **options)
    return app.send_task(name, args, kwargs, **options)
