"""`amqtask config`: check, show, schema."""

import json

import click

from amqtask.cli.target import Target, target_options
from amqtask.config.load import DEFAULT_FILE
from amqtask.config.loaded import LoadedConfig, Setting
from amqtask.config.render import settings
from amqtask.config.schema import json_schema
from amqtask.config.topology import build_topology
from amqtask.config.tree import DEFAULT
from amqtask.errors import ConfigError, Problem

_OBJECTS = ("exchanges", "queues", "bindings", "routes", "defaults")


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command()
@target_options
@click.option("--strict", is_flag=True, help="Take warnings for mistakes.")
@click.pass_obj
def check(target: Target, strict: bool) -> None:
    """Report every mistake, with its place; exit 78 if there is one."""
    loaded = target.load_config()
    if loaded.file is None and target.app is None:
        hint = f"write {DEFAULT_FILE} here, or name a file with -C or in AMQTASK_CONFIG"
        raise ConfigError([Problem(message="there is no configuration file", hint=hint)])
    if strict and loaded.warnings:
        raise ConfigError(loaded.warnings)
    show_warnings(loaded)
    click.echo(f"{loaded.file or target.app}: ok: {summary(loaded)}")


@config.command()
@target_options
@click.argument("sections", nargs=-1)
@click.option("--changed", is_flag=True, help="Leave out all that is as by default.")
@click.option("--all", "everything", is_flag=True, help="Show what is not said of queues, exchanges and routes, too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(target: Target, sections: tuple[str, ...], changed: bool, everything: bool, as_json: bool) -> None:
    """Show each setting and where it came from; secrets are masked.

    SECTIONS, such as `broker` or `queues.hi`, limit it.
    """
    loaded = target.load_config()
    chosen = [
        setting
        for setting in settings(loaded)
        if _is_in(setting, sections) and (everything or not _is_unsaid(setting, loaded, changed))
    ]
    if sections and not chosen:
        raise click.UsageError(f"no setting is in {' or '.join(sections)}")
    if as_json:
        rows = {setting.name: {"value": setting.value, "origin": str(setting.origin)} for setting in chosen}
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max((len(setting.name) for setting in chosen), default=0)
    value_width = min(max((len(setting.text) for setting in chosen), default=0), 40)
    for setting in chosen:
        click.echo(f"{setting.name:<{width}}  {setting.text:<{value_width}}  {setting.origin}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def show_warnings(loaded: LoadedConfig) -> None:
    """Write the warnings of a configuration on standard error."""
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)


def summary(loaded: LoadedConfig) -> str:
    """How much of what a configuration declares."""
    topology = build_topology(loaded.config)
    counts = (
        _count(len(topology.exchanges), "exchange"),
        _count(len(topology.queues), "queue"),
        _count(len(topology.bindings), "binding"),
        _count(len(loaded.config.routes), "route"),
    )
    return ", ".join(counts)


def _is_in(setting: Setting, sections: tuple[str, ...]) -> bool:
    name = setting.name
    return not sections or any(
        name == section or name.startswith((f"{section}.", f"{section}[")) for section in sections
    )


def _is_unsaid(setting: Setting, loaded: LoadedConfig, changed: bool) -> bool:
    """What tells nothing: with --changed each default, else what is open of the objects, which have many settings."""
    if setting.path[0] not in _OBJECTS or len(setting.path) == 1 or setting.path in loaded.origins:
        return changed and setting.origin == DEFAULT
    return setting.origin == DEFAULT or setting.value in (None, [], {})


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
