"""The supervisor's neighbours: who shows the program to people, and who controls it from afar."""

from collections.abc import Callable, Sequence
from typing import Protocol

from amqtask.worker.pipe import Note
from amqtask.worker.plan import Plan
from amqtask.worker.process import Process


class Front(Protocol):
    """Who shows the program to people: the command line."""

    def banner(self, plan: Plan, pid: int) -> None:
        """The node is about to start its processes."""
        ...

    def ready(self, plan: Plan) -> None:
        """All processes consume."""
        ...

    def reloaded(self, plan: Plan) -> None:
        """The app was loaded anew, and so is its configuration."""
        ...

    def failed(self, text: str) -> None:
        """The worker cannot start, or not go on."""
        ...


class Crew(Protocol):
    """A supervisor, as its steward sees it. All but `call_soon` belong to the supervisor's thread."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` made in the supervisor's loop. From any thread."""
        ...

    def processes(self) -> Sequence[Process]:
        """The processes that execute, in the order of their places."""
        ...

    def resize(self, wanted: int) -> None:
        """Have so many processes; those that are too many finish what they run."""
        ...

    def renew_all(self) -> None:
        """Replace all processes, one by one."""
        ...

    def finish(self) -> None:
        """Finish what runs, and end."""
        ...


class Steward(Protocol):
    """Who controls a node from afar: told of what happens, asked for what new processes must know."""

    def begin(self, plan: Plan, crew: Crew, then: Callable[[], None]) -> None:
        """The app was loaded; `then` is to be called, in the supervisor's loop, when processes may start."""
        ...

    def orders(self) -> list[Note]:
        """What a new process is told to begin with."""
        ...

    def heard(self, process: Process, note: Note) -> None:
        """A process said something that the supervisor has no use for."""
        ...

    def gone(self, process: Process) -> None:
        """A process ended."""
        ...

    def turn(self, now: float) -> float:
        """Do what is due; the monotonic instant of the next thing."""
        ...

    def end(self) -> None:
        """The program ends."""
        ...


class NoSteward:
    """Nobody controls the node from afar."""

    def begin(self, plan: Plan, crew: Crew, then: Callable[[], None]) -> None:
        then()

    def orders(self) -> list[Note]:
        return []

    def heard(self, process: Process, note: Note) -> None:
        raise ValueError(f"process {process.pid} says {note['is']!r} to nobody")

    def gone(self, process: Process) -> None:
        """Nothing to do."""

    def turn(self, now: float) -> float:
        return float("inf")

    def end(self) -> None:
        """Nothing to do."""
