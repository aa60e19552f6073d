"""How an app comes to its configuration. What reads it, pydantic and YAML, is loaded when it is read."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.config.loaded import LoadedConfig

ConfigSource = str | os.PathLike[str] | Mapping[str, object]
"""The path of a YAML file, or a mapping of the same shape."""

ReadConfig = Callable[[ConfigSource | None, Sequence[str]], "LoadedConfig"]
"""Reads a configuration from its source and from settings (`a.b=value`) that beat it."""

LOAD = "amqtask.config.load"


def read_config(source: ConfigSource | None, overrides: Sequence[str]) -> "LoadedConfig":
    """Read it in this process.

    Raises:
        ConfigError: with all its mistakes.
    """
    loaded: LoadedConfig = importlib.import_module(LOAD).load_source(source, overrides)
    return loaded
