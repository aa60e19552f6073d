"""The executor port (`base`) and the table of its implementations, loaded when chosen."""

import importlib
import importlib.util
from collections.abc import Callable

from amqtask.errors import ConfigError, ExtraMissing, Problem
from amqtask.executors.base import Executor

EXECUTORS = {
    "processes": "amqtask.executors.inline:InlineExecutor",
    "solo": "amqtask.executors.inline:InlineExecutor",
    "threads": "amqtask.executors.threads:ThreadsExecutor",
    "asyncio": "amqtask.executors.aio:AsyncioExecutor",
    "gevent": "amqtask.executors.gevent:GeventExecutor",
    "eventlet": "amqtask.executors.eventlet:EventletExecutor",
    "uvloop": "amqtask.executors.uvloop:UvloopExecutor",
}

PACKAGES = ("gevent", "eventlet", "uvloop")
"""Pools that need a package, which is called like them and so is the extra that brings it."""


def check_installed(pool: str) -> None:
    """Raise ExtraMissing if this pool needs a package that is not installed. Loads nothing."""
    if pool in PACKAGES and importlib.util.find_spec(pool) is None:
        raise ExtraMissing(f"the pool {pool!r} needs a package that is not installed; install amqtask[{pool}]")


def load_executor(pool: str) -> Callable[[int], Executor]:
    """What makes the executor of this pool with so many slots; "uvloop" is asyncio on uvloop's loop.

    Raises:
        ConfigError: there is no such pool.
        ExtraMissing: the package that it needs is not installed.
    """
    place = EXECUTORS.get(pool)
    if place is None:
        raise ConfigError([Problem(message=f"unknown pool {pool!r}", hint=f"known are {', '.join(EXECUTORS)}")])
    check_installed(pool)
    module, _, kind = place.partition(":")
    executor: Callable[[int], Executor] = getattr(importlib.import_module(module), kind)
    return executor
