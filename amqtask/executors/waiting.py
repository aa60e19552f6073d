"""What is submitted and not started."""

from amqtask.executors.base import Execution, Waiting


def take_all(waiting: Waiting) -> list[Execution]:
    """Empty it, while other threads may take from it as well."""
    taken = []
    while waiting:
        try:
            taken.append(waiting.popleft())
        except IndexError:  # another thread took the last one in between
            break
    return taken
