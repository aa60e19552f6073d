"""The executor port (`base`) and the table of its implementations, loaded when chosen."""

import importlib
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
}


def load_executor(pool: str) -> Callable[[int], Executor]:
    """What makes the executor of this pool with so many slots.

    Raises:
        ConfigError: there is no such pool.
        ExtraMissing: the package that it needs is not installed.
    """
    place = EXECUTORS.get(pool)
    if place is None:
        raise ConfigError([Problem(message=f"unknown pool {pool!r}", hint=f"known are {', '.join(EXECUTORS)}")])
    module, _, kind = place.partition(":")
    try:
        executor: Callable[[int], Executor] = getattr(importlib.import_module(module), kind)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != pool:
            raise
        raise ExtraMissing(
            f"the pool {pool!r} needs a package that is not installed; install amqtask[{pool}]"
        ) from error
    return executor
