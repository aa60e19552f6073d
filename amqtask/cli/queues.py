"""`amqtask queues`: how full the queues are."""

import fnmatch
import json
from dataclasses import asdict, replace
from typing import Any

import click

from amqtask.cli.target import Target, target_options
from amqtask.config.topology import build_topology
from amqtask.core.topology import DEFAULT_EXCHANGE, Topology
from amqtask.delayed import TreeState, is_there
from amqtask.delayed import look as look_at_delays
from amqtask.drivers import load_driver
from amqtask.exits import FAILED, OK
from amqtask.queueview import QueueView, ask_management, look

HEADINGS = ("queue", "type", "ready", "unacked", "consumers", "in/s", "out/s", "dead", "state")


@click.command()
@target_options
@click.argument("pattern", required=False, metavar="[PATTERN]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def queues(target: Target, /, pattern: str | None, as_json: bool) -> int:
    """Show the queues of the configuration, or those of the virtual host whose name fits PATTERN.

    AMQP alone tells what is ready, who consumes, how many dead letters there are, and what waits for its time.
    Unacknowledged messages, rates, and queues of whose name only a pattern is known are the management API's to tell
    (broker.management). The exit code is 1 if no queue fits.
    """
    config = target.load_config().config
    topology = build_topology(config)
    address = config.broker.addresses()[0]
    wanted = [name for name in topology.queues if pattern is None or fnmatch.fnmatchcase(name, pattern)]
    managed: dict[str, QueueView] = {}
    if config.broker.management is not None:
        try:
            managed = ask_management(config.broker.management, address.vhost)
        except OSError as error:
            click.echo(f"the management API does not answer ({error}); going on by AMQP alone", err=True)
    if pattern is not None:
        others = [*managed] if any(sign in pattern for sign in "*?[") else [pattern]
        wanted += [name for name in others if name not in wanted and fnmatch.fnmatchcase(name, pattern)]
    dead = {name: grave for name in wanted if (grave := dead_letter_queue(topology, name)) is not None}
    asked = dict.fromkeys([*wanted, *dead.values()])
    connection = load_driver(config.broker.driver).connect(
        address.named("amqtask queues"), config.broker.connect_timeout
    )
    try:
        seen = look(connection, asked)
        delays = look_at_delays(connection, ()) if is_there(connection) else None
    finally:
        connection.close()
    views = [merge(name, seen, managed, topology, dead.get(name)) for name in wanted]
    if as_json:
        waiting = None if delays is None else {"waiting": delays.waiting, "lost": delays.lost}
        click.echo(json.dumps({"queues": [asdict(view) for view in views], "delayed": waiting}))
    elif views:
        show(views)
        show_delays(delays)
    else:
        more = "" if managed else "; without broker.management only those of the configuration can be searched"
        click.echo(f"no queue fits {pattern!r}{more}", err=True)
    return OK if views else FAILED


def dead_letter_queue(topology: Topology, name: str) -> str | None:
    """The queue that gets a queue's dead letters, where that is plain from the configuration."""
    queue = topology.queues.get(name)
    target = queue.dead_letter if queue is not None else None
    if target is None or target.exchange != DEFAULT_EXCHANGE:
        return None
    return target.routing_key


def merge(
    name: str,
    seen: dict[str, QueueView],
    managed: dict[str, QueueView],
    topology: Topology,
    dead: str | None,
) -> QueueView:
    """What both ways to ask say of a queue: counts by AMQP are of now, those of the API some seconds old."""
    view, more = seen[name], managed.get(name)
    queue = topology.queues.get(name)
    if more is not None and view.state == "ok":
        view = replace(more, ready=view.ready, consumers=view.consumers)
    elif more is not None and view.state == "exclusive":
        view = more
    elif queue is not None:
        view = replace(view, type=queue.type)
    return replace(view, dead=seen[dead].ready if dead is not None else None)


def show(views: list[QueueView]) -> None:
    """A table."""
    rows: list[tuple[Any, ...]] = [HEADINGS]
    for view in views:
        numbers = (view.ready, view.unacked, view.consumers, view.rate_in, view.rate_out, view.dead)
        shown = ["-" if number is None else f"{number:g}" for number in numbers]
        rows.append((view.name, view.type, *shown, view.state))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        cells = [
            f"{cell!s:>{width}}" if 2 <= column <= 7 else f"{cell!s:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def show_delays(delays: TreeState | None) -> None:
    """What waits for its time, in all of the virtual host: a delayed message is in no queue of its task's yet."""
    if delays is None:
        return
    count = delays.waiting
    click.echo(
        f"{count} {'message waits for its time' if count == 1 else 'messages wait for their time'} (amqtask delayed)"
    )
    if delays.lost:
        click.echo(f"{delays.lost} in aqt.delay.lost: their destination's relay was deleted")
