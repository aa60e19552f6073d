"""`amqtask topology`: validate, apply, show."""

import json
from collections import Counter

import click

from amqtask.cli.config import show_warnings, summary
from amqtask.cli.target import Target, target_options
from amqtask.config.loaded import LoadedConfig
from amqtask.config.meaning import find, to_problem
from amqtask.config.topology import build_topology
from amqtask.core.queue_arguments import Version, parse_version
from amqtask.core.topology import Topology
from amqtask.core.topology_tree import as_json as topology_json
from amqtask.core.topology_tree import draw
from amqtask.drivers import load_driver
from amqtask.drivers.base import Connection
from amqtask.errors import AuthenticationFailed, ConfigError, ConnectionFailed, VhostUnavailable
from amqtask.exits import FAILED
from amqtask.provision import FAILURES, Done, provision


@click.group()
def topology() -> None:
    """Check, declare and show exchanges, queues and bindings."""


def _version(context: click.Context, parameter: click.Parameter, value: str | None) -> Version | None:
    if value is None:
        return None
    version = parse_version(value)
    if version is None:
        raise click.BadParameter(f"{value!r} is no version; write it as 4.3 or 3.10.8", context, parameter)
    return version


@topology.command()
@target_options
@click.option("--server", metavar="VERSION", callback=_version, help="Check also what this version of RabbitMQ takes.")
@click.pass_obj
def validate(target: Target, server: Version | None) -> None:
    """Check without asking a broker; exit 78 if there is a mistake."""
    loaded = target.load_config()
    check_for_server(loaded, server)
    show_warnings(loaded)
    click.echo(f"ok: {summary(loaded)}")


@topology.command()
@target_options
@click.option("--dry-run", is_flag=True, help="Only say what is missing.")
@click.pass_obj
@click.pass_context
def apply(context: click.Context, target: Target, dry_run: bool) -> None:
    """Declare everything on the broker; what is there already and the same stays as it is.

    Exit 1 if something there differs from what is wanted.
    """
    loaded = target.load_config()
    connection = connect(loaded)
    try:
        check_for_server(loaded, parse_version(connection.server))
        declared = build_topology(loaded.config)
        counts: Counter[Done] = Counter()
        for step in provision(connection, declared, dry_run=dry_run):
            counts[step.done] += 1
            if step.done in FAILURES:
                click.echo(f"{step.done.value:<16}  {step.kind:<8}  {step.name}", err=True)
                click.echo(f"error: {step.detail}", err=True)
            else:
                click.echo(f"{step.done.value:<16}  {step.kind:<8}  {step.name}")
    finally:
        connection.close()
    click.echo(", ".join(f"{number} {done.value}" for done, number in counts.items()) or "nothing is declared")
    if any(counts[failure] for failure in FAILURES):
        if counts[Done.DIFFERS]:
            click.echo("RabbitMQ changes no existing object: delete it, or change the configuration", err=True)
        context.exit(FAILED)


@topology.command()
@target_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(target: Target, as_json: bool) -> None:
    """Show exchanges, the keys that lead out of them, and queues."""
    declared: Topology = build_topology(target.load_config().config)
    if as_json:
        click.echo(json.dumps(topology_json(declared), indent=2, ensure_ascii=False))
        return
    for line in draw(declared):
        click.echo(line)


def connect(loaded: LoadedConfig) -> Connection:
    """A connection to the first broker of the configuration that answers.

    Raises:
        ConnectionFailed: none does; the last one's error.
    """
    broker = loaded.config.broker
    driver = load_driver(broker.driver)
    *others, last = broker.addresses()
    for address in others:
        try:
            return driver.connect(address.named("amqtask topology"), broker.connect_timeout)
        except (AuthenticationFailed, VhostUnavailable):
            raise
        except ConnectionFailed as error:
            click.echo(f"warning: {error}", err=True)
    return driver.connect(last.named("amqtask topology"), broker.connect_timeout)


def check_for_server(loaded: LoadedConfig, server: Version | None) -> None:
    """Check what a server of this version does not take.

    Raises:
        ConfigError: something that it does not.
    """
    if server is None:
        return
    wrong = [
        to_problem(finding, loaded.tree) for finding in find(loaded.config, server=server) if not finding.is_warning
    ]
    if wrong:
        raise ConfigError(wrong)
