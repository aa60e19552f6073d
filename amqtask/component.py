"""Component: a user's part of a worker's process, with a start and a stop."""

import graphlib
from collections.abc import Sequence

from amqtask.errors import ConfigError, Problem
from amqtask.lifecycle import WorkerProcess


class Component:
    """Base class of what `app.components` holds: each process of a worker starts all of them, and stops them again.

    They start before the process connects, each after those that it requires, and stop after the last task, in the
    opposite order. An exception in `start` keeps the worker from starting; one in `stop` is logged.
    """

    requires: Sequence["Component"] = ()
    """Other components that must run while this one does; they need not be in `app.components` themselves."""

    def start(self, process: WorkerProcess) -> None:
        """Start, and return: what goes on needs a thread of its own."""

    def stop(self) -> None:
        """Stop; nothing of it may be left when this returns."""


def in_order(components: Sequence[Component]) -> list[Component]:
    """The components and all that they require, in the order of their start.

    Raises:
        ConfigError: some require each other.
    """
    sorter: graphlib.TopologicalSorter[Component] = graphlib.TopologicalSorter()
    found: set[Component] = set()
    todo = list(components)
    while todo:
        component = todo.pop(0)
        if component not in found:
            found.add(component)
            sorter.add(component, *component.requires)
            todo.extend(component.requires)
    try:
        return list(sorter.static_order())
    except graphlib.CycleError as error:
        names = " -> ".join(type(component).__name__ for component in error.args[1])
        raise ConfigError([Problem(message=f"components require each other: {names}")]) from None
