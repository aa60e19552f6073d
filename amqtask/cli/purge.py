"""`amqtask purge`: throw away what waits in queues."""

import click

from amqtask.cli.target import Target, target_options
from amqtask.config.topology import build_topology
from amqtask.control.purging import purge as throw_away
from amqtask.core.declare import DeclareQueue
from amqtask.drivers import load_driver
from amqtask.drivers.base import QuietSink
from amqtask.errors import UnknownQueue


def _split(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for part in value for name in part.split(",") if name.strip())


@click.command()
@target_options
@click.option("-Q", "--queues", multiple=True, required=True, callback=_split, metavar="A,B", help="The queues.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(target: Target, queues: tuple[str, ...], force: bool) -> None:
    """Throw away the messages that wait in queues. Those that a worker holds stay."""
    config = target.load_config().config
    topology = build_topology(config)
    unknown = [name for name in queues if name not in topology.queues]
    if unknown:
        raise UnknownQueue(f"no queue {unknown[0]!r} is declared; the configuration has: {', '.join(topology.queues)}")
    address = config.broker.addresses()[0]
    connection = load_driver(config.broker.driver).connect(
        address.named("amqtask purge"), config.broker.connect_timeout
    )
    try:
        channel = connection.channel(QuietSink(), confirms=False)
        waiting = {name: channel.declare(DeclareQueue(name=name, passive=True)) for name in queues}
        total = sum(info.messages for info in waiting.values() if info is not None)
        for name, info in waiting.items():
            click.echo(f"{name}: {info.messages if info is not None else 0} messages", err=True)
        if total and not force:
            click.confirm(
                f"Throw away {total} messages on {address}? They cannot be brought back", abort=True, err=True
            )
        for name, count in throw_away(connection, queues):
            click.echo(f"{name}: {count} messages thrown away")
    finally:
        connection.close()
