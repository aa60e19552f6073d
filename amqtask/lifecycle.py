"""Lifecycle: functions that are called at the turns of a worker's life. `app.on` is an app's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from amqtask.app import App

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker: what all of its processes have in common. `slots` is how many tasks one process runs at a time."""

    app: "App"
    node: str
    pool: str
    processes: int
    slots: int
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that runs now, for so many seconds."""

    id: str
    name: str
    seconds: float


class WorkerProcess(Protocol):
    """One process of a worker, as hooks and components see it. All of it may be read from any thread."""

    @property
    def worker(self) -> WorkerInfo:
        """The worker that it belongs to."""
        ...

    @property
    def index(self) -> int:
        """Its place among the worker's processes, from 0; one that replaces another takes its place."""
        ...

    @property
    def is_connected(self) -> bool:
        """It has a connection to the broker and consumes."""
        ...

    @property
    def is_stopping(self) -> bool:
        """It takes no more work."""
        ...

    @property
    def processed(self) -> int:
        """How many tasks came to their end here."""
        ...

    def running(self) -> Sequence[RunningTask]:
        """What runs here now."""
        ...


class Moment(Generic[T]):
    """A turn of a life: `@app.on.ready` has a function called then, after those that were given before it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hooks: list[Callable[[T], object]] = []

    def __call__(self, function: Callable[[T], R]) -> Callable[[T], R]:
        self.hooks.append(function)
        return function


class Lifecycle:
    """The turns of a worker's life, in their order. Each takes functions of one argument.

    What `worker_init` and `process_init` raise keeps the worker from starting; what the others raise is logged.
    """

    def __init__(self) -> None:
        self.worker_init: Moment[WorkerInfo] = Moment("worker_init")
        """The app is loaded. In the process from which all others are forked, so what is loaded now they share; of
        the pools gevent and eventlet, whose processes start afresh, in each. Open no connections here."""
        self.process_init: Moment[WorkerProcess] = Moment("process_init")
        """A process is about to connect. The place for connections, pools and clients of one's own."""
        self.ready: Moment[WorkerProcess] = Moment("ready")
        """A process consumes, for the first time."""
        self.shutting_down: Moment[WorkerProcess] = Moment("shutting_down")
        """A process takes no more work, and waits for what runs. Called beside that, in a thread of its own."""
        self.process_shutdown: Moment[WorkerProcess] = Moment("process_shutdown")
        """The last task has ended and the connections are still there. Not called in a process that is killed, or whose
        tasks did not end in time."""
