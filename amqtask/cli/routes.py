"""`amqtask routes`: explain."""

import json
from typing import Any

import click

from amqtask.cli.json_value import json_value
from amqtask.cli.target import Target, target_options
from amqtask.config.topology import build_router
from amqtask.core.routing import NO_OPTIONS, SendOptions
from amqtask.exits import FAILED


@click.group()
def routes() -> None:
    """Explain where tasks go."""


@routes.command()
@target_options
@click.argument("name")
@click.option(
    "-a",
    "--args",
    metavar="JSON",
    callback=json_value(list),
    default="[]",
    help="The positional arguments, as a JSON list.",
)
@click.option(
    "-k",
    "--kwargs",
    metavar="JSON",
    callback=json_value(dict),
    default="{}",
    help="The keyword arguments, as a JSON object.",
)
@click.option("--queue", help="As the call's queue=.")
@click.option("--exchange", help="As the call's exchange=.")
@click.option("--routing-key", help="As the call's routing_key=.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
@click.pass_context
def explain(
    context: click.Context,
    target: Target,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    queue: str | None,
    exchange: str | None,
    routing_key: str | None,
    as_json: bool,
) -> None:
    """Say which exchange, key and queues the task NAME goes to, and why; exit 1 if it reaches no queue.

    With -A the options of the app's own task count too.
    """
    task_options = NO_OPTIONS
    if target.app is not None:
        app = target.load_app()
        app.load_tasks()
        router = app.router
        if (task := app.tasks.find(name)) is not None:
            own = task.options
            task_options = SendOptions(
                queue=own.queue, exchange=own.exchange, routing_key=own.routing_key, priority=own.priority
            )
    else:
        router = build_router(target.load_config().config)
    routing = router.resolve(
        name,
        args,
        kwargs,
        task_options=task_options,
        call_options=SendOptions(queue=queue, exchange=exchange, routing_key=routing_key),
    )
    kind = router.topology.exchange_type(routing.exchange)
    if as_json:
        found = {
            "task": name,
            "exchange": routing.exchange,
            "routing_key": routing.routing_key,
            "priority": routing.priority,
            "queues": list(routing.queues),
            "why": routing.why,
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        rows = {
            "task": name,
            "exchange": f"{routing.exchange} ({kind})" if routing.exchange else "the default exchange",
            "key": routing.routing_key,
            "priority": routing.priority,
            "queues": ", ".join(routing.queues) or "none: it would be unroutable",
            "why": routing.why,
        }
        for label, value in rows.items():
            if value is not None:
                click.echo(f"{label:<9} {value}")
    if not routing.queues:
        context.exit(FAILED)
