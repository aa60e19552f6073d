"""`amqtask dev`: a broker, and a worker that reloads, on a machine that has nothing but Python."""

import errno
import os
import signal
import sys
import threading
from pathlib import Path

import click

from amqtask.cli.reload import reload_on_change
from amqtask.cli.target import Target, target_options
from amqtask.cli.worker import URL_VARIABLE, Terminal
from amqtask.core.address import EMBEDDED_VARIABLE
from amqtask.devbroker.__main__ import raise_file_limit
from amqtask.devbroker.emulate import DEFAULT, PROFILES
from amqtask.devbroker.server import Server
from amqtask.exits import UNAVAILABLE
from amqtask.worker.agent import NodeAgent
from amqtask.worker.plan import Order, Plan
from amqtask.worker.steward import NodeSteward
from amqtask.worker.supervisor import Supervisor

PORT = 5672
"""RabbitMQ's own: where every app and command looks that is not told otherwise."""


class DevTerminal(Terminal):
    """Shows the worker, and what to do next."""

    def __init__(self, target: Target, server: Server) -> None:
        super().__init__()
        self._target = target
        self._server = server

    def ready(self, plan: Plan) -> None:
        """It consumes."""
        click.echo(f"  reload   when a source file below {Path.cwd()} changes", err=True)
        click.echo("\nTry it in another terminal:", err=True)
        app = "" if self._target.app is None else f" AMQTASK_APP={self._target.app}"
        commands = [f"export {URL_VARIABLE}={self._server.url}{app}"]
        if self._target.config is not None:
            commands.append(f"export AMQTASK_CONFIG={self._target.config}")
        if plan.sample:
            commands.append(f"amqtask call {plan.sample} --wait 10")
        for command in [*commands, "amqtask status", "amqtask queues"]:
            click.echo(f"  {command}", err=True)
        click.echo("\nCtrl-C stops after what runs; twice stops now.", err=True)


@click.command()
@target_options
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 is any free one.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep what is durable in this folder.")
@click.option("--emulate", type=click.Choice(sorted(PROFILES)), default=DEFAULT, show_default=True, help="RabbitMQ's.")
@click.option("--no-worker", is_flag=True, help="The broker only.")
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="How many tasks run at a time.")
@click.pass_obj
def dev(target: Target, port: int, data: Path | None, emulate: str, no_worker: bool, concurrency: int | None) -> None:
    """Run a broker for development, and a worker that reloads when the source changes.

    The broker is amqtask's own: it needs nothing installed, listens on 127.0.0.1, and keeps everything in memory
    without --data. Not for production.
    """
    if target.app is None and not no_worker:
        raise click.UsageError("which app? Give it as -A package.module:app, or in AMQTASK_APP; or say --no-worker")
    raise_file_limit()
    server = _start(port, data, emulate)
    try:
        _greet(server, data, emulate)
        os.environ[URL_VARIABLE] = os.environ[EMBEDDED_VARIABLE] = server.url
        code = _wait() if no_worker else _work(target, server, concurrency)
    finally:
        server.stop()
    sys.exit(code)


def _start(port: int, data: Path | None, emulate: str) -> Server:
    try:
        server = Server(port=port, data=data, emulate=emulate, faults_port=0)
        server.start()
    except OSError as error:
        text = f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            text = f"port {port} is taken, perhaps by a RabbitMQ; `amqtask dev --port {port + 1}` uses another"
        click.echo(f"error: {text}", err=True)
        sys.exit(UNAVAILABLE)
    return server


def _greet(server: Server, data: Path | None, emulate: str) -> None:
    kept = f"durable queues and persistent messages are kept in {data}" if data else "all is in memory, gone at the end"
    click.echo(f"A broker for development and tests, not for production; {kept}.", err=True)
    click.echo(f"  amqp     {server.url} (as RabbitMQ {PROFILES[emulate].version})", err=True)
    click.echo(f"  faults   http://127.0.0.1:{server.faults_port}/ (block, refuse, close, turn the clock)", err=True)


def _work(target: Target, server: Server, concurrency: int | None) -> int:
    """Run the worker; its exit code."""
    order = Order(
        app=str(target.app),
        config=target.config,
        # Also where the app's code names a broker, which no variable beats.
        overrides=(*target.overrides, f"broker.url={server.url}"),
        concurrency=concurrency,
        working_folder=os.getcwd(),
    )
    reload_on_change(Path.cwd())
    return Supervisor(order, DevTerminal(target, server), NodeSteward(NodeAgent)).run()


def _wait() -> int:
    """Until Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    click.echo("\nCtrl-C ends it.", err=True)
    stopped.wait()
    return 0
