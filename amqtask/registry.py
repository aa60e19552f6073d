"""Registry: an app's tasks by name."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from amqtask.errors import AlreadyRegistered, NotRegistered
from amqtask.task import AnyTask


class Registry(Mapping[str, AnyTask]):
    """Tasks by name; two of one name are an error, and an unknown name says which is nearest."""

    def __init__(self) -> None:
        self._tasks: dict[str, AnyTask] = {}

    def __getitem__(self, name: str) -> AnyTask:
        task = self._tasks.get(name)
        if task is None:
            near = get_close_matches(name, self._tasks, n=1)
            hint = (
                f"; did you mean {near[0]}?"
                if near
                else f"; registered are: {', '.join(sorted(self._tasks)) or 'none'}"
            )
            raise NotRegistered(f"no task {name!r} is registered{hint}")
        return task

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def find(self, name: str) -> AnyTask | None:
        """The task, or None; not an exception, because workers ask for each message."""
        return self._tasks.get(name)

    def register(self, task: AnyTask) -> None:
        """Add a task.

        Raises:
            AlreadyRegistered: another one has its name; the message says where both are.
        """
        there = self._tasks.get(task.name)
        if there is not None and place(there) != place(task):
            raise AlreadyRegistered(f"two tasks are named {task.name!r}: {place(there)} and {place(task)}")
        self._tasks[task.name] = task


def place(task: AnyTask) -> str:
    """Where a task's function is: "file:line"."""
    code = getattr(task.run, "__code__", None)
    if code is None:
        return f"{type(task.run).__module__}.{type(task.run).__qualname__}"
    return f"{code.co_filename}:{code.co_firstlineno}"
