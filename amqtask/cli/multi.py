"""`amqtask multi`: several nodes on one machine, in the background."""

import os
import sys
from pathlib import Path

import click

from amqtask.cli.nodes import FOLDER_VARIABLE, Memory, Nodes, default_folder, is_running
from amqtask.cli.target import Target, target_options
from amqtask.exits import FAILED

_KEPT = ("AMQTASK_BROKER_URL", "AMQTASK_CONFIG", "PYTHONPATH")
"""Variables of the environment that belong to how a node was started."""

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Where pid files, logs and memory are; also {FOLDER_VARIABLE}, else ~/.local/state/amqtask.",
)
_names = click.argument("names", nargs=-1)
_wait = click.option(
    "--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait for each."
)


@click.group()
def multi() -> None:
    """Start, stop, restart and look at several nodes on this machine.

    \b
    amqtask -A shop.tasks:app multi start one two -- -Q hi,lo -c 4
    amqtask multi status
    amqtask multi restart
    """


@multi.command()
@target_options
@_names
@_folder
@_wait
@click.pass_obj
@click.pass_context
def start(context: click.Context, target: Target, names: tuple[str, ...], folder: Path | None, timeout: float) -> None:
    """Start nodes of these NAMES; what follows `--` are options of `amqtask worker`.

    Without names, all that were started before and do not run are started again as they were.
    """
    nodes = Nodes(folder or default_folder())
    wanted, options = _split(names)
    if not wanted:
        remembered = [memory for memory in nodes.all() if not is_running(memory)]
        if options or not remembered:
            raise click.UsageError("which nodes? Give them names, as in `multi start one two -- -Q hi`")
        _start_all(context, nodes, remembered, timeout)
        return
    if target.app is None:
        raise click.UsageError("which app? Give it as -A package.module:app, or in AMQTASK_APP")
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    memories = [
        Memory(name=name, command=_command(target, name, options), folder=os.getcwd(), environment=environment)
        for name in wanted
    ]
    _start_all(context, nodes, memories, timeout)


@multi.command()
@_names
@_folder
@_wait
@click.option("--kill", is_flag=True, help="Kill those that do not end in time.")
@click.option("--forget", is_flag=True, help="Do not remember how they were started.")
@click.pass_context
def stop(
    context: click.Context, names: tuple[str, ...], folder: Path | None, timeout: float, kill: bool, forget: bool
) -> None:
    """Stop nodes after what they run, all of them without NAMES."""
    nodes = Nodes(folder or default_folder())
    failed = False
    for memory in _chosen(nodes, names):
        ran = is_running(memory)
        if not nodes.stop(memory, timeout, kill=kill):
            click.echo(f"{memory.name}: still running after {timeout:g} s (pid {memory.pid}); --kill ends it", err=True)
            failed = True
            continue
        if forget:
            nodes.forget(memory.name)
        click.echo(f"{memory.name}: {'stopped' if ran else 'was not running'}")
    if failed:
        context.exit(FAILED)


@multi.command()
@_names
@_folder
@_wait
@click.pass_context
def restart(context: click.Context, names: tuple[str, ...], folder: Path | None, timeout: float) -> None:
    """Stop nodes and start them as they were, one after another; all of them without NAMES."""
    nodes = Nodes(folder or default_folder())
    failed = False
    for memory in _chosen(nodes, names):
        if not nodes.stop(memory, timeout, kill=False):
            click.echo(f"{memory.name}: still running after {timeout:g} s (pid {memory.pid})", err=True)
            failed = True
        elif not _again(nodes, memory, timeout):
            failed = True
    if failed:
        context.exit(FAILED)


@multi.command()
@_names
@_folder
@click.pass_context
def status(context: click.Context, names: tuple[str, ...], folder: Path | None) -> None:
    """Say which nodes run; exit 1 if one does not."""
    nodes = Nodes(folder or default_folder())
    failed = False
    for memory in _chosen(nodes, names):
        if is_running(memory):
            click.echo(f"{memory.name}: running (pid {memory.pid})")
            continue
        failed = True
        click.echo(f"{memory.name}: {f'died (pid was {memory.pid})' if memory.pid else 'stopped'}")
    if failed:
        context.exit(FAILED)


def _start_all(context: click.Context, nodes: Nodes, memories: list[Memory], timeout: float) -> None:
    # One that does not start keeps none of the others from it.
    started = [_again(nodes, memory, timeout) for memory in memories]
    if not all(started):
        context.exit(FAILED)


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names, and options from the first word that begins with a dash: click takes the `--` between them away."""
    for index, word in enumerate(words):
        if word.startswith("-"):
            return words[:index], words[index:]
    return words, ()


def _command(target: Target, name: str, options: tuple[str, ...]) -> list[str]:
    command = [sys.executable, "-m", "amqtask", "worker", "-A", str(target.app)]
    if target.config is not None:
        command += ["-C", target.config]
    for override in target.overrides:
        command += ["--set", override]
    return [*command, "-n", name, *options]


def _chosen(nodes: Nodes, names: tuple[str, ...]) -> list[Memory]:
    chosen = [nodes.get(name) for name in names] if names else nodes.all()
    if not chosen:
        raise click.ClickException(f"no node was started from {nodes.folder}")
    return chosen


def _again(nodes: Nodes, memory: Memory, timeout: float) -> bool:
    log = nodes.log(memory.name)
    offset = log.stat().st_size if log.exists() else 0
    started = nodes.start(memory.name, memory.command, memory.folder, memory.environment)
    if nodes.wait_ready(started, offset, timeout):
        click.echo(f"{memory.name}: running (pid {started.pid}), log {log}")
        return True
    said = nodes.said(memory.name, offset).rstrip()
    what = "is not ready yet" if is_running(started) else "did not start"
    click.echo(f"{memory.name}: {what}; its log {log} says:\n{said}", err=True)
    return False
