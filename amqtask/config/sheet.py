"""Sheets: a configuration as a worker's processes have it, under the same names and without pydantic.

pydantic and what it compiles the model to would be a third of each process's memory and of the time that it starts in.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from amqtask.config.uses import BrokerUses, TasksUses


class Sheet:
    """A section: its settings are its attributes, and cannot be changed."""

    model_fields_set: frozenset[str]
    """The settings that are written; the others have their defaults."""

    def __init__(self, values: Mapping[str, object], written: Iterable[str]) -> None:
        self.__dict__.update(values, model_fields_set=frozenset(written))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"the configuration cannot be changed: {name}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the configuration has no {name!r} here")


class BrokerSheet(BrokerUses, Sheet):
    """The section `broker`."""


class TasksSheet(TasksUses, Sheet):
    """The section `tasks`."""
