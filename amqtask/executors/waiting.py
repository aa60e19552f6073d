"""What is submitted and not started."""

import collections

from amqtask.executors.base import Execution


def take_all(waiting: "collections.deque[Execution]") -> list[Execution]:
    """Empty a deque from which other threads may take as well."""
    taken = []
    while waiting:
        try:
            taken.append(waiting.popleft())
        except IndexError:  # another thread took the last one in between
            break
    return taken
