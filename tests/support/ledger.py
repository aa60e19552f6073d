"""A ledger of tasks by id: which were confirmed to their sender, which ran, how often, and whether the broker had said
that it might be for the second time."""

import collections
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from amqtask import App
from tests.support.eventually import eventually
from tests.support.program import Scratch

TASKS = """
    @app.task(bind=True, ignore_result=True)
    def mark(self, seconds=0.0):
        again = "again" if self.request.delivery_info.redelivered else "first"
        note("begin", self.request.id, again, os.getpid())
        time.sleep(seconds)
        note("end", self.request.id, again, os.getpid())
    """

CONFIG = """
      heartbeat: 2s
    queues:
      lo: {}
    tasks: {default_queue: lo}
    """

PUBLISH = """
    import itertools, os, time
    import tasks
    from amqtask.errors import AmqtaskError
    for number in itertools.count():
        try:
            tasks.mark.apply_async(task_id=f"p{number}")
            tasks.note("sent", f"p{number}")
        except AmqtaskError as error:
            tasks.note("unsent", f"p{number}", type(error).__name__)
        if os.path.exists("enough"):
            break
        time.sleep(0.005)
    """


class Ledger:
    """Sends tasks with ids of its own to an app that holds `TASKS`, and reads what they wrote in its journal."""

    def __init__(self, app: Scratch, url: str) -> None:
        self._app = app
        self._url = url
        self._sent: list[str] = []

    def send(self, count: int, seconds: float = 0.0) -> None:
        """Send so many more, each of which runs for so long, and see them confirmed."""
        ids = [f"s{len(self._sent) + number}" for number in range(count)]
        with App("ledger", config=self._app.folder / "amqtask.yaml", broker=self._url) as app:
            app.configure(overrides=["publish.timeout=60s"])
            with app.batch():
                for task_id in ids:
                    app.send_task("tasks.mark", (seconds,), task_id=task_id, queue="lo", ignore_result=True)
        self._sent += ids

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """A script sends one task after another while the block runs, and notes which were confirmed."""
        script = self._app.start_python(PUBLISH)
        try:
            yield
            (self._app.folder / "enough").touch()
            assert script.wait(90) == 0
        except BaseException:
            script.kill()
            script.wait()
            raise

    @property
    def confirmed(self) -> set[str]:
        """Those whose sender knows that the broker has them; also a script with `PUBLISH`."""
        return {*self._sent, *self._words("sent")}

    @property
    def begun(self) -> int:
        """How many executions have begun, of whatever task."""
        return len(self._words("begin"))

    @property
    def ended(self) -> set[str]:
        """Those that ran to their end."""
        return set(self._words("end"))

    def pids(self, task_id: str) -> list[int]:
        """The processes in which this one began, one after another."""
        lines = [line.split() for line in self._app.lines() if line.startswith(f"begin {task_id} ")]
        return [int(line[3]) for line in lines]

    def wait_begun(self, count: int, deadline: float = 60.0) -> None:
        """Wait until so many executions have begun."""
        eventually(lambda: self.begun >= count, deadline, lambda: f"{self.begun} of {count} began")

    def settle(self, deadline: float = 120.0, *, of: Iterable[str] | None = None) -> None:
        """Wait until all that were confirmed have run, and hold the account to its law.

        Nothing that was confirmed is lost; what begins a second time is what the broker delivered a second time.
        """
        wanted = set(of) if of is not None else self.confirmed
        eventually(lambda: wanted <= self.ended, deadline, lambda: f"lost: {sorted(wanted - self.ended)[:20]}")
        begins = [tuple(line.split()[1:3]) for line in self._app.lines() if line.startswith("begin ")]
        unflagged = collections.Counter(task_id for task_id, again in begins if again == "first")
        twice = {task_id: count for task_id, count in unflagged.items() if count > 1}
        assert not twice, f"ran twice, and the broker had not said that it delivered them again: {twice}"

    def doubled(self) -> set[str]:
        """Those that began more than once."""
        return {task_id for task_id, count in collections.Counter(self._words("begin")).items() if count > 1}

    def _words(self, kind: str) -> list[str]:
        return [line.split()[1] for line in self._app.lines() if line.startswith(f"{kind} ")]
