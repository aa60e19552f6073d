"""Reading a configuration for processes that are to be spared pydantic and YAML; see `amqtask.worker.reader`."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from amqtask.config.load import load_source
from amqtask.config.loaded import Reading
from amqtask.config.render import settings
from amqtask.config.section import Section
from amqtask.config.sheet import BrokerSheet, Sheet, TasksSheet
from amqtask.config.uses import BrokerUses, TasksUses


def read(source: str | os.PathLike[str] | Mapping[str, object] | None, overrides: Sequence[str]) -> Reading:
    """What `load_source` gives, with sheets in the place of the model.

    Raises:
        ConfigError: all mistakes that were found.
    """
    loaded = load_source(source, overrides)
    version = importlib.metadata.version("amqtask")
    return Reading(
        loaded=replace(loaded, config=to_sheet(loaded.config)),
        settings=tuple(settings(loaded)),
        version=version,
        about=about(version),
    )


def to_sheet(value: Any) -> Any:
    """A value of the model with sheets in the place of its sections."""
    if isinstance(value, Section):
        kind = BrokerSheet if isinstance(value, BrokerUses) else TasksSheet if isinstance(value, TasksUses) else Sheet
        return kind({name: to_sheet(item) for name, item in value}, value.model_fields_set)
    if isinstance(value, dict):
        return {key: to_sheet(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(to_sheet(item) for item in value)
    return value


def about(version: str) -> tuple[str, ...]:
    """What this runs on, in lines."""
    packages = []
    for name in ("pika", "amqp", "pydantic", "msgpack", "celery"):
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"amqtask {version}, {platform.python_implementation()} {platform.python_version()}, {platform.platform()}",
        f"packages: {', '.join(packages)}",
    )
