"""`amqtask worker`: run a node."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amqtask.cli.companion import Companion, beat_command
from amqtask.cli.reload import reload_on_change
from amqtask.cli.target import Target, target_options
from amqtask.worker.plan import Order, Plan

if TYPE_CHECKING:
    from amqtask.worker.process import Egg
    from amqtask.worker.reader import Reader

URL_VARIABLE = "AMQTASK_BROKER_URL"
POOLS = ("processes", "prefork", "threads", "asyncio", "gevent", "eventlet", "solo")


class Terminal:
    """Shows the program on standard error. `companion` is started once the app is there."""

    def __init__(self, companion: Companion | None = None) -> None:
        self._companion = companion

    def banner(self, plan: Plan, pid: int) -> None:
        """What is about to run."""
        rows = {
            "app": f"{plan.app_name} as {plan.node} (pid {pid})",
            "broker": f"{plan.broker} ({plan.driver})",
            "pool": f"{plan.pool}: {_amount(plan.processes, 'process', 'processes')} of {_amount(plan.slots, 'slot')}",
            "queues": ", ".join(plan.queues),
            "tasks": ", ".join(plan.tasks) or "none",
        }
        if plan.embedded is not None:
            rows["embedded"] = "this broker is for development: it is in memory, and gone when this worker ends"
            rows[""] = f"for other terminals: export {URL_VARIABLE}={plan.embedded}"
        for name, value in rows.items():
            click.echo(f"  {name:<8} {value}", err=True)
        if self._companion is not None:
            self._companion.start()

    def ready(self, plan: Plan) -> None:
        """It consumes."""
        click.echo(f"  ready    Ctrl-C stops after what runs; twice stops now (pid {os.getpid()})", err=True)

    def reloaded(self, plan: Plan) -> None:
        """The beat beside it is started again, with the code and the schedule of now."""
        if self._companion is not None:
            self._companion.renew()

    def failed(self, text: str) -> None:
        """It cannot start, or not go on."""
        click.echo(f"error: {text}", err=True)


def _amount(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _split(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for part in value for name in part.split(",") if name.strip())


def _hatch(order: Order, reader: "Reader | None") -> "Egg | None":
    """Fork the process that loads the app.

    None in a script that called `app.worker_main()`, and has no reader: what it has loaded is not to be inherited.
    """
    if reader is None:
        return None
    # Nothing that is made while modules are imported is garbage.
    gc.disable()
    from amqtask.worker.hatch import hatch

    egg = hatch(order, reader)
    gc.enable()
    return egg


@click.command()
@target_options
@click.option(
    "-Q",
    "--queues",
    multiple=True,
    callback=_split,
    metavar="A,B",
    help="The queues to consume; hi:3,lo:1 takes three of hi for one of lo.",
)
@click.option("-X", "--exclude-queues", "exclude", multiple=True, callback=_split, help="Queues to leave out.")
@click.option("--strict", is_flag=True, help="Each process takes first from the queue that comes first in -Q.")
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="How many tasks run at a time.")
@click.option("-P", "--pool", type=click.Choice(POOLS), help="How they run at the same time.")
@click.option("--processes", type=click.IntRange(min=1), help="Processes, each with so many threads or coroutines.")
@click.option("--prefetch", metavar="N|auto", help="Unacknowledged messages for each consumer.")
@click.option("-n", "--name", help="The node's name; the app's name and the host's by default.")
@click.option(
    "-l",
    "--log-level",
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    help="The least level of log lines.",
)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Lines to read, or a JSON object a line.")
@click.option("-E", "--events", is_flag=True, default=None, help="Send events of tasks and signs of life.")
@click.option("-I", "--include", multiple=True, callback=_split, help="More modules that define tasks.")
@click.option("--create-missing-queues", is_flag=True, help="Declare queues of -Q that the configuration lacks.")
@click.option("--max-tasks-per-child", type=click.IntRange(min=1), help="Replace a process after so many tasks.")
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), help="Hard limit of tasks, in seconds.")
@click.option("--soft-time-limit", type=click.FloatRange(min=0, min_open=True), help="Soft limit, in seconds.")
@click.option("-B", "--beat", is_flag=True, help="Run a beat beside it, in a process of its own.")
@click.option("--reload", is_flag=True, help="Load the app anew when its source changes.")
@click.pass_obj
def worker(
    target: Target,
    queues: tuple[str, ...],
    exclude: tuple[str, ...],
    strict: bool,
    concurrency: int | None,
    pool: str | None,
    processes: int | None,
    prefetch: str | None,
    name: str | None,
    log_level: str | None,
    log_format: str | None,
    events: bool | None,
    include: tuple[str, ...],
    create_missing_queues: bool,
    max_tasks_per_child: int | None,
    reload: bool,
    time_limit: float | None,
    soft_time_limit: float | None,
    beat: bool,
) -> None:
    """Consume queues and run tasks, until it is stopped."""
    if target.app is None:
        raise click.UsageError("which app? Give it as -A package.module:app, or in AMQTASK_APP")
    order = Order(
        app=target.app,
        config=target.config,
        overrides=tuple(target.overrides),
        queues=queues,
        exclude=exclude,
        strict=strict,
        pool=pool,
        concurrency=concurrency,
        processes=processes,
        prefetch=prefetch,
        name=name,
        log_level=log_level.upper() if log_level else None,
        log_format=log_format,
        create_missing_queues=create_missing_queues,
        events=events,
        include=include,
        max_tasks_per_child=max_tasks_per_child,
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        working_folder=os.getcwd(),
    )
    egg = _hatch(order, target.reader)
    if reload:
        reload_on_change(Path.cwd())
    options = [f"--{key}={value}" for key, value in (("log-level", log_level), ("log-format", log_format)) if value]
    with Companion(beat_command(target, *options)) as companion:
        from amqtask.worker.agent import NodeAgent
        from amqtask.worker.steward import NodeSteward
        from amqtask.worker.supervisor import Supervisor

        code = Supervisor(order, Terminal(companion if beat else None), NodeSteward(NodeAgent), egg).run()
    sys.exit(code)
