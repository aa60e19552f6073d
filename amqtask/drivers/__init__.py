"""The driver port (`base`) and the table of its implementations, loaded when chosen."""

import importlib

from amqtask.drivers.base import Driver
from amqtask.errors import ConfigError, Problem

DRIVERS = {
    "pika": "amqtask.drivers.pika:PikaDriver",
    "amqp": "amqtask.drivers.amqp:AmqpDriver",
    "memory": "amqtask.drivers.memory:MemoryDriver",
}


def load_driver(name: str) -> Driver:
    """The driver of this name.

    Raises:
        ConfigError: there is none.
    """
    place = DRIVERS.get(name)
    if place is None:
        raise ConfigError([Problem(message=f"unknown driver {name!r}", hint=f"known are {', '.join(sorted(DRIVERS))}")])
    module, _, kind = place.partition(":")
    driver: Driver = getattr(importlib.import_module(module), kind)()
    return driver
