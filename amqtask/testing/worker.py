"""A worker on a background thread, for tests and notebooks: `with app.worker():`."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, TypedDict

from amqtask.app import App
from amqtask.errors import BrokerError, ChannelClosed, ConfigError, Problem, WorkerLost
from amqtask.executors import load_executor
from amqtask.publisher import HOPELESS
from amqtask.worker.board import Board
from amqtask.worker.life import Life, Member, call, worker_info
from amqtask.worker.node import Node
from amqtask.worker.options import Listener
from amqtask.worker.plan import Order
from amqtask.worker.prepare import make_plan, node_options
from amqtask.worker.rates import OwnRates

BackgroundPool = Literal["threads", "asyncio", "solo"]

# A thread cannot be interrupted by a signal, so one slot is a thread as well.
EXECUTORS = {"threads": "threads", "asyncio": "asyncio", "solo": "threads"}

CLOSING_TIME = 10.0
"""Seconds for the last confirms and acknowledgements."""


class BackgroundOptions(TypedDict, total=False):
    """Options of a BackgroundWorker."""

    pool: BackgroundPool
    concurrency: int | None
    name: str | None
    timeout: float


class BackgroundWorker:
    """A node in this process. Entered, it consumes; left, what runs has ended and nothing is left of it.

    The app stays open. Hard time limits are not kept, as there is no process to kill.
    """

    def __init__(
        self,
        app: App,
        *,
        queues: Sequence[str] = (),
        pool: BackgroundPool = "threads",
        concurrency: int | None = None,
        name: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """`timeout` bounds, in seconds, the wait for the broker and at the end the wait for what runs.

        Raises:
            ConfigError: this pool needs processes of its own, or the configuration is wrong.
            UnknownQueue: as `amqtask worker -Q` does.
        """
        if pool not in EXECUTORS:
            raise ConfigError(
                [
                    Problem(
                        message=f"pool {pool!r} needs processes of its own",
                        hint=f"here are {', '.join(EXECUTORS)}; start the others with `amqtask worker`",
                    )
                ]
            )
        self.app = app
        self._timeout = timeout
        worker = app.config.worker.model_copy(
            update={"pool": pool, "concurrency": concurrency, "processes": 1, "time_limit": None, "uvloop": False}
        )
        config = app.config.model_copy(update={"worker": worker})
        self._plan = make_plan(app, config, Order(app=app.name, queues=tuple(queues), name=name))
        self._options = node_options(self._plan, config, {})
        self._executor_name = EXECUTORS[pool]
        self._is_ready = threading.Event()
        self._hopeless: BrokerError | None = None
        self._has_begun = False

    def __enter__(self) -> "BackgroundWorker":
        """Start, and return when it consumes.

        Raises:
            BrokerError: the broker cannot be reached, or refuses.
            HookFailed: see `amqtask.lifecycle.Lifecycle`.
        """
        board = self._board = Board.create(self._plan.slots)
        executor = self._executor = load_executor(self._executor_name)(self._plan.slots)
        listener = Listener(ready=self._ready, connect_failed=self._connect_failed)
        self._node = Node(self.app, self._options, executor, board, listener)
        self._node.steering.tell = OwnRates(self._node).hear
        worker = worker_info(self.app, self._plan)
        self._life = Life(self.app, Member(worker, 0, self._node))
        self._thread = threading.Thread(target=executor.run, name="amqtask-background", daemon=True)
        self._thread.start()
        try:
            call(self.app.on.worker_init, worker)
            self._life.begin()
            self._has_begun = True
            self._node.start()
            if not self._is_ready.wait(self._timeout) or self._hopeless is not None:
                raise self._hopeless or self._node.session.failure or BrokerError("the broker does not answer")
        except BaseException:
            executor.stop()
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take no more work, and return when what runs has ended.

        Raises:
            WorkerLost: some tasks did not end in time; their messages are back in their queues.
        """
        self._node.drain()
        self._life.shutting_down()
        unfinished = 0 if self._node.wait_drained(self._timeout) else self._node.give_up()
        self._executor.stop()
        self._close()
        if unfinished and error is None:
            raise WorkerLost(f"tasks that did not end within {self._timeout:g} s: {unfinished}")

    def held(self) -> list[float]:
        """When the tasks are due that it holds because their time has not come, in seconds since the epoch."""
        now = self.app.clock.time()
        etas = [execution.request.eta for execution in self._node.reserved()]
        return [eta.timestamp() for eta in etas if eta is not None and eta.timestamp() > now]

    def unfinished(self) -> list[str]:
        """The names of the tasks that it runs or holds."""
        return [execution.request.task for execution in (*self._node.active(), *self._node.reserved())]

    def _close(self) -> None:
        self._thread.join(self._timeout)
        if self._has_begun:
            self._life.end()
        self._node.close(CLOSING_TIME)
        if not self._thread.is_alive():
            self._board.close()

    def _ready(self) -> None:
        self._executor.call(self._life.ready)
        self._is_ready.set()

    def _connect_failed(self, error: BrokerError, tries: int) -> None:
        if isinstance(error, (*HOPELESS, ChannelClosed)):
            self._hopeless = error
            self._is_ready.set()
