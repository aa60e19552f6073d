"""`amqtask top`: a live view in the terminal."""

import importlib.util

import click

from amqtask.cli.target import Target, target_options
from amqtask.drivers import load_driver
from amqtask.drivers.base import Connection
from amqtask.errors import ExtraMissing


@click.command()
@target_options
@click.option("--no-events", is_flag=True, help="Do not have the nodes send events of tasks.")
@click.pass_obj
def top(target: Target, /, no_events: bool) -> None:
    """Watch nodes, queues and tasks, and steer them by keys. Tasks are seen by their events, which it turns on."""
    if importlib.util.find_spec("textual") is None:
        raise ExtraMissing("amqtask top needs textual: pip install 'amqtask[top]'")
    from amqtask.tui.source import LiveSource
    from amqtask.tui.top import Top

    with target.load_any_app() as app:
        broker = app.config.broker

        def connect() -> Connection:
            return load_driver(broker.driver).connect(
                broker.addresses()[0].named("amqtask top"), broker.connect_timeout
            )

        if not no_events:
            app.control.broadcast("enable_events")
        with LiveSource(app.control, app.events, tuple(app.topology.queues), connect) as source:
            Top(source).run()
