"""Result backends by name. A name that is not in the table is looked for among the installed packages' entry points."""

import importlib
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError, ExtraMissing, Problem

if TYPE_CHECKING:
    from amqtask.results.setup import Factory

ENTRY_POINT_GROUP = "amqtask.result_backends"
"""The entry point is a callable that takes a `BackendSetup` and returns a `ResultBackend`."""

# Name → module with a function `create(setup)`, and the extra that brings the package it imports.
BACKENDS: dict[str, tuple[str, str | None]] = {
    "rpc": ("amqtask.results.rpc", None),
    "rabbitmq": ("amqtask.results.rabbitmq", None),
    "redis": ("amqtask.results.redis", "redis"),
    "sql": ("amqtask.results.sql", "sql"),
    "memcached": ("amqtask.results.memcached", "memcached"),
    "filesystem": ("amqtask.results.filesystem", None),
    "mongodb": ("amqtask.results.mongodb", "mongodb"),
    "elasticsearch": ("amqtask.results.elasticsearch", "elasticsearch"),
    "cassandra": ("amqtask.results.cassandra", "cassandra"),
    "django": ("amqtask.results.django", "django"),
    "memory": ("amqtask.results.memory", None),
    "null": ("amqtask.results.null", None),
}

# Celery's names for the same things.
ALIASES = {
    "rediss": "redis",
    "db": "sql",
    "database": "sql",
    "cache": "memcached",
    "file": "filesystem",
    "mongo": "mongodb",
    "disabled": "null",
}


def load_backend(name: str) -> "Factory":
    """What makes the backend of this name.

    Raises:
        ConfigError: there is none.
        ExtraMissing: the package that it needs is not installed.
    """
    known = BACKENDS.get(ALIASES.get(name, name))
    if known is None:
        return _foreign(name)
    module, extra = known
    try:
        factory: Factory = importlib.import_module(module).create
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("amqtask"):
            raise
        raise ExtraMissing(
            f"the result backend {name!r} needs a package that is not installed ({error.name});"
            f" install amqtask[{extra}]"
        ) from error
    return factory


def _foreign(name: str) -> "Factory":
    # Slow to import, and rarely needed.
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name:
            factory: Factory = entry.load()
            return factory
    names = ", ".join(sorted(BACKENDS))
    raise ConfigError([Problem(message=f"unknown result backend {name!r}", hint=f"known are {names}")])
