"""Life: the turns of a process's life, as an app's hooks and components hear of them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from amqtask.app import App
from amqtask.component import Component, in_order
from amqtask.errors import HookFailed
from amqtask.lifecycle import Moment, RunningTask, WorkerInfo, WorkerProcess
from amqtask.log import event, get_logger
from amqtask.worker.node import Node
from amqtask.worker.plan import Plan

logger = get_logger("worker")

T = TypeVar("T")


def worker_info(app: App, plan: Plan) -> WorkerInfo:
    """The worker of this plan."""
    return WorkerInfo(
        app=app,
        node=plan.node,
        pool=plan.pool,
        processes=plan.processes,
        slots=plan.slots,
        queues=plan.queues,
    )


class Member:
    """A node's process (`amqtask.lifecycle.WorkerProcess`)."""

    def __init__(self, worker: WorkerInfo, index: int, node: Node) -> None:
        self.worker = worker
        self.index = index
        self._node = node

    @property
    def is_connected(self) -> bool:
        return self._node.session.is_open

    @property
    def is_stopping(self) -> bool:
        return self._node.is_stopping

    @property
    def processed(self) -> int:
        return self._node.processed

    def running(self) -> Sequence[RunningTask]:
        now = self.worker.app.clock.monotonic()
        return [
            RunningTask(id=execution.id, name=execution.request.task, seconds=now - execution.started)
            for execution in self._node.active()
        ]


class Life:
    """One process's. `begin` and `end` belong to its main thread."""

    def __init__(self, app: App, member: Member) -> None:
        self._on = app.on
        self._wanted = app.components
        self._member = member
        self._started: list[Component] = []
        self._was_ready = False

    def begin(self) -> None:
        """The process is about to connect.

        Raises:
            HookFailed: a hook or a component did; those that were started are stopped again.
            ConfigError: components require each other.
        """
        call(self._on.process_init, self._member)
        for component in in_order(self._wanted):
            try:
                component.start(self._member)
            except Exception as error:
                self._stop_components()
                raise _failed(f"component {type(component).__name__}", error) from error
            self._started.append(component)

    def ready(self) -> None:
        """It consumes; only the first time counts."""
        if not self._was_ready:
            self._was_ready = True
            self._tell(self._on.ready)

    def shutting_down(self) -> None:
        """It takes no more work."""
        self._tell(self._on.shutting_down)

    def end(self) -> None:
        """Nothing runs any more."""
        self._stop_components()
        self._tell(self._on.process_shutdown)

    def _stop_components(self) -> None:
        while self._started:
            component = self._started.pop()
            _attempt(f"stopping component {type(component).__name__}", component.stop)

    def _tell(self, moment: "Moment[WorkerProcess]") -> None:
        for hook in moment.hooks:
            _attempt(f"{moment.name}: {_name(hook)}", lambda hook=hook: hook(self._member))  # type: ignore[misc]


def call(moment: "Moment[T]", value: T) -> None:
    """Call the hooks of a moment that must not fail.

    Raises:
        HookFailed: one did.
    """
    for hook in moment.hooks:
        try:
            hook(value)
        except Exception as error:
            raise _failed(f"{moment.name}: {_name(hook)}", error) from error


def _attempt(what: str, function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:
        logger.exception("%s failed", what, extra=event("hook-failed"))


def _failed(what: str, error: Exception) -> HookFailed:
    return HookFailed(f"{what} failed: {type(error).__name__}: {error}")


def _name(hook: Callable[..., object]) -> str:
    return getattr(hook, "__qualname__", repr(hook))
