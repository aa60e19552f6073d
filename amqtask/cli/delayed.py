"""`amqtask delayed`: what waits for its time in the broker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click

from amqtask.app import App
from amqtask.cli.target import Target, target_options
from amqtask.core.delay import Relay, level_name
from amqtask.core.routing import SendOptions
from amqtask.core.topology import DEFAULT_EXCHANGE
from amqtask.delayed import TreeState, declare, look
from amqtask.drivers import load_driver
from amqtask.drivers.base import Connection
from amqtask.errors import NoRoute, UnknownQueue
from amqtask.exits import FAILED


@click.command()
@target_options
@click.option("--declare", "declares", is_flag=True, help="First declare what delays need, for users who may not.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def delayed(target: Target, declares: bool, as_json: bool) -> int:
    """Show what waits for its time: how many messages by level, and what is stuck.

    Relays are shown of the queues of the configuration, and with -A of the app's tasks. The exit code is 1 if something
    is stuck.
    """
    with target.load_any_app() as app, _connect(app) as connection:
        relays = _relays(app)
        if declares:
            declare(connection, relays)
        state = look(connection, relays)
    problems = list(_problems(state))
    if as_json:
        click.echo(json.dumps(_form(state, problems), ensure_ascii=False))
    else:
        _show(state)
        for problem in problems:
            click.echo(f"stuck: {problem}", err=True)
    return FAILED if problems else 0


@contextmanager
def _connect(app: App) -> Iterator[Connection]:
    broker = app.config.broker
    address = broker.addresses()[0].named("amqtask delayed")
    connection = load_driver(broker.driver).connect(address, broker.connect_timeout)
    try:
        yield connection
    finally:
        connection.close()


def _relays(app: App) -> list[Relay]:
    """Where delayed messages go: back to their queues when they are retried, and where the app's tasks are sent."""
    relays = [Relay(DEFAULT_EXCHANGE, queue) for queue in app.topology.work_queues()]
    for task in app.tasks:
        options = app.tasks[task].options
        way = SendOptions(queue=options.queue, exchange=options.exchange, routing_key=options.routing_key)
        try:
            routing = app.router.resolve(task, task_options=way)
        except (NoRoute, UnknownQueue):
            continue  # its calls say where they go, or its key is made of their arguments
        relays.append(Relay(routing.exchange, routing.routing_key))
    return relays


def _problems(state: TreeState) -> Iterator[str]:
    if state.lost is not None and state.missing:
        yield f"{', '.join(state.missing)} not there: what should wait there is dropped; --declare makes it anew"
    if state.lost:
        yield f"{state.lost} messages whose relay was deleted are kept in the queue aqt.delay.lost"
    for relay in state.relays:
        if relay.missing:
            yield f"{relay.missing} is not there: what is due for it stays in {relay.relay.queue}"


def _show(state: TreeState) -> None:
    if state.lost is None:
        click.echo("there is no delay tree: nothing was delayed on this virtual host yet")
        return
    click.echo(f"{state.waiting} messages wait for their time")
    for level in state.levels:
        if level.waiting:
            click.echo(f"{level_name(level.level)}  {level.waiting:>8}  due within {timedelta(seconds=level.latest)}")
    for relay in state.relays:
        place = relay.relay
        way = f"exchange {place.exchange}, key {place.routing_key}" if place.exchange else f"queue {place.routing_key}"
        click.echo(f"{place.queue}  to {way}")


def _form(state: TreeState, problems: list[str]) -> dict[str, Any]:
    return {
        "waiting": state.waiting,
        "levels": [
            {
                "level": level.level,
                "queue": level_name(level.level),
                "waiting": level.waiting,
                "due_within": level.latest,
            }
            for level in state.levels
        ],
        "relays": [
            {
                "queue": relay.relay.queue,
                "exchange": relay.relay.exchange,
                "routing_key": relay.relay.routing_key,
                "waiting": relay.waiting,
                "missing": relay.missing,
            }
            for relay in state.relays
        ],
        "lost": state.lost,
        "stuck": problems,
    }
