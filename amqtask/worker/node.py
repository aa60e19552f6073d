"""Node: one process's part of a worker. The composition root: it lists its parts in the order of their start."""

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from amqtask.app import App
from amqtask.core.admission import Drop, Wait, admit
from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import DropReason, Failure, Outcome, Refused
from amqtask.core.protocol import read_request
from amqtask.core.topology import declare_ops
from amqtask.drivers.base import Connection
from amqtask.effective import Effective
from amqtask.errors import BrokerError, ContentRefused, MessageError, SoftTimeLimitExceeded, TimeLimitExceeded
from amqtask.executors.base import Executor
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session
from amqtask.task import AnyTask
from amqtask.worker.board import Board
from amqtask.worker.consumer import Consumer, Subscription
from amqtask.worker.execute import Executing
from amqtask.worker.execution import Execution
from amqtask.worker.finish import Finisher, label
from amqtask.worker.outbox import Outbox

logger = get_logger("worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a node's process is told: its node's name, the queues with their prefetch, and what is known of crashes."""

    name: str
    subscriptions: tuple[Subscription, ...]
    max_crashes: int = 3
    max_tasks: int | None = None
    ack_batch: int = 50
    ack_delay: float = 0.05
    crashes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of the node's life; called from its I/O thread."""

    ready: Callable[[], None] = lambda: None
    connect_failed: Callable[[BrokerError, int], None] = lambda error, tries: None
    worn_out: Callable[[], None] = lambda: None
    """It ran `max_tasks` tasks; it goes on until it is stopped."""
    doomed: Callable[[], None] = lambda: None
    """A hard limit was reached and settled; the process must end now."""


class Node:
    """Consumes, executes and settles in this process."""

    def __init__(
        self, app: App, options: NodeOptions, executor: Executor, board: Board, listener: Listener | None = None
    ) -> None:
        self.options = options
        self.executor = executor
        self._app = app
        self._clock = app.clock
        self._board = board
        self._listener = listener or Listener()
        self._tasks = app.tasks
        self._running: dict[str, Execution] = {}
        self._held: dict[Execution, None] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._timer_lock = threading.Lock()
        self._revoked: Callable[[str], bool] = lambda task_id: False
        self._processed = 0
        self._stopping = False
        self._drained = threading.Event()
        self._crashes = dict(options.crashes)
        content = app.config.content
        self._accept = content.accept
        self._max_size = content.max_decompressed_size
        outbox = Outbox(
            node=options.name,
            clock=self._clock,
            sender=app.parts.sender,
            publisher=app.publisher,
            topology=app.topology,
            tasks=app.tasks,
        )
        self.finisher = Finisher(
            node=options.name,
            clock=self._clock,
            outbox=outbox,
            backend=app.backend,
            settle=self._settle,
            ended=self._ended,
            later=self.call_later,
        )
        self.executing = Executing(
            node=options.name,
            clock=self._clock,
            board=board,
            accept=content.accept,
            max_decompressed_size=content.max_decompressed_size,
            middlewares=app.middleware,
            may_start=self._may_start,
            acknowledge=self._acknowledge_early,
            started=self._started,
            finish=self.finisher.finish,
            calm=executor.calm,
        )
        mode = app.config.broker.declare
        self.consumer = Consumer(
            options.subscriptions,
            receive=self._receive,
            wake=self._wake,
            topology=declare_ops(app.topology, mode),
            recover=lambda queue: declare_ops(app.topology, mode, queues=[queue]),
            on_ready=self._listener.ready,
            on_void=self._void,
            ack_batch=options.ack_batch,
            ack_delay=options.ack_delay,
            slots=executor.capacity,
        )
        self.session = Session(
            app.session_options,
            [self.consumer, self],
            name="worker",
            on_failure=self._listener.connect_failed,
        )

    # Life

    def start(self) -> None:
        """Connect and consume; the executor's `run` is the caller's."""
        self.session.start()

    def drain(self) -> None:
        """Take no more work, hand back what is not started; `wait_drained` tells when what runs has ended."""
        self.session.call_soon(self._drain)

    def wait_drained(self, timeout: float | None) -> bool:
        """Whether nothing is left within `timeout` seconds."""
        return self._drained.wait(timeout)

    def give_up(self) -> int:
        """Hand back what still runs, without counting it as a failure; how many that were."""
        unfinished = [execution for execution in list(self._running.values()) if not execution.ended]
        for execution in unfinished:
            execution.ended = True
            self.consumer.settle(execution.delivery, Verdict.HAND_BACK, at_once=True)
        return len(unfinished)

    def note_crashes(self, crashes: Mapping[str, int]) -> None:
        """Processes of this worker died while they executed these tasks: how many, by id."""
        self._crashes.update(crashes)

    def close(self, timeout: float) -> None:
        """Send what is decided and close the connections; what still runs goes back to its queue."""
        self._app.publisher.flush(timeout)
        self.session.call_soon(lambda: None)
        self.session.stop(timeout)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have `call` run on the session's thread after so many seconds. From any thread."""
        due = self._clock.monotonic() + seconds
        with self._timer_lock:
            heapq.heappush(self._timers, (due, next(self._timer_ids), call))
        self.session.wake()

    # What may be asked of it

    def active(self) -> list[Execution]:
        """What runs now."""
        return [execution for execution in list(self._running.values()) if execution.started]

    def reserved(self) -> list[Execution]:
        """What came and has not started."""
        return [execution for execution in list(self._held) if not execution.started]

    @property
    def processed(self) -> int:
        """How many executions came to their end here."""
        return self._processed

    # The session's calls

    def opened(self, connection: Connection) -> None:
        """Nothing of its own to open."""

    def lost(self, error: BrokerError) -> None:
        """The consumer's `on_void` does it."""

    def turn(self, now: float) -> float:
        """Timers, limits and counters."""
        self._board.count(self._processed, len(self._held), now)
        return min(self._run_timers(now), self._check_limits(now))

    # Deliveries: the I/O thread

    def _receive(self, delivery: Delivery, queue: str) -> None:
        try:
            request = read_request(delivery, accept=self._accept, max_decompressed_size=self._max_size)
        except MessageError as error:
            reason = DropReason.CONTENT_REFUSED if isinstance(error, ContentRefused) else DropReason.MALFORMED
            self.finisher.refuse(delivery, queue, Refused(reason, str(error)))
            return
        running = self._running.get(request.id)
        if running is not None and delivery.redelivered and not running.ended:
            # The connection was lost while it ran: this is its own message again.
            running.delivery = delivery
            logger.info(
                "%s came again while it runs here; it is not run twice", label(running), extra=event("attached")
            )
            return
        task = self._tasks.find(request.task)
        admission = admit(
            request,
            known=task is not None,
            now=datetime.fromtimestamp(self._clock.time(), UTC),
            revoked=self._revoked(request.id),
            crashes=max(request.crashes, self._crashes.get(request.id, 0)),
            max_crashes=self.options.max_crashes or 2**31,
        )
        if task is None:
            assert isinstance(admission, Drop), "an unknown task is dropped"
            assert isinstance(admission.outcome, Refused), "and refused"
            self.finisher.refuse(delivery, queue, admission.outcome)
            return
        execution = Execution(request, queue, task, self._effective(task), self.executing)
        if isinstance(admission, Drop):
            self.finisher.finish(execution, admission.outcome)
            return
        self._held[execution] = None
        if isinstance(admission, Wait):
            self.call_later(admission.seconds, lambda: self.executor.submit(execution))
            return
        self.executor.submit(execution)

    def _void(self, generation: int) -> None:
        """The channel is gone:

        what has not started is somebody else's; what runs waits for its message to come again.
        """
        for execution in self.executor.drain():
            self._held.pop(execution, None)  # type: ignore[call-overload]
        for held in self.reserved():
            self._held.pop(held, None)

    def _drain(self) -> None:
        self._stopping = True
        self.consumer.stop()
        for execution in self.executor.drain():
            self._hand_back(execution)
        for execution in self.reserved():
            self._hand_back(execution)
        self.session.wake()
        if not self._held:
            self._drained.set()

    def _hand_back(self, execution: object) -> None:
        assert isinstance(execution, Execution), "only executions are submitted"
        if execution in self._held:
            del self._held[execution]
            execution.ended = True
            self.consumer.settle(execution.delivery, Verdict.HAND_BACK)

    def _effective(self, task: AnyTask) -> Effective:
        return self._app.parts.sender.effective(task.options)

    # Executions: the slots' threads

    def _may_start(self, execution: Execution) -> bool:
        if execution.ended or execution.delivery.generation != self.consumer.generation:
            self._held.pop(execution, None)
            return False
        self._running[execution.id] = execution
        return True

    def _started(self, execution: Execution) -> None:
        logger.debug("%s started", label(execution), extra=event("started", task_id=execution.id))
        if execution.deadline or execution.soft_deadline:
            self.session.wake()  # the I/O thread must look at the limits

    def _acknowledge_early(self, execution: Execution) -> bool:
        """Acknowledge before the task runs, and see it written: a task that says `acks_late=False` must not run twice."""
        self.consumer.settle(execution.delivery, Verdict.ACK)
        written = threading.Event()
        # The first call runs in the turn that settles, the second after the poll that writes.
        self.session.call_soon(lambda: self.session.call_soon(written.set))
        written.wait()
        if execution.delivery.generation != self.consumer.generation:
            self._running.pop(execution.id, None)
            self._held.pop(execution, None)
            return False
        execution.acked = True
        return True

    def _settle(self, delivery: Delivery, verdict: Verdict) -> None:
        self.consumer.settle(delivery, verdict, at_once=self.executor.waiting() == 0)

    def _ended(self, execution: Execution) -> None:
        if self._running.get(execution.id) is execution:
            del self._running[execution.id]
        self._held.pop(execution, None)
        self._processed += 1
        if self.options.max_tasks is not None and self._processed == self.options.max_tasks:
            self._listener.worn_out()
        if self._stopping and not self._held:
            self._drained.set()

    def _wake(self) -> None:
        self.session.wake()

    # Limits and timers: the I/O thread

    def _run_timers(self, now: float) -> float:
        while True:
            with self._timer_lock:
                if not self._timers or self._timers[0][0] > now:
                    return self._timers[0][0] if self._timers else NEVER
                _, _, call = heapq.heappop(self._timers)
            call()

    def _check_limits(self, now: float) -> float:
        due = NEVER
        for execution in list(self._running.values()):
            if execution.soft_deadline and not execution.ended:
                if execution.soft_deadline <= now:
                    execution.soft_deadline = 0.0
                    self._soft_limit(execution)
                else:
                    due = min(due, execution.soft_deadline)
            if execution.deadline and not execution.ended:
                if execution.deadline <= now:
                    self._hard_limit(execution, now)
                else:
                    due = min(due, execution.deadline)
        return due

    def _soft_limit(self, execution: Execution) -> None:
        if not self.executor.interrupt(execution, SoftTimeLimitExceeded):
            logger.warning("%s is over its soft limit, and this pool cannot interrupt it", label(execution))

    def _hard_limit(self, execution: Execution, now: float) -> None:
        """Settle the task as failed while it still runs, then have the process ended: nothing else can stop it."""
        execution.deadline = 0.0
        ran = now - execution.started
        if not self.executor.abilities.hard_limit:
            logger.error("%s is over its hard limit, and this pool cannot end it", label(execution))
            return
        logger.error("%s ran %.1f s, over its hard limit; its process is ended", label(execution), ran)
        error = TimeLimitExceeded(f"{execution.request.name} ran {ran:.1f} s, over its hard time limit")
        outcome: Outcome = Failure(error, "", ran)
        for waiting in self.executor.drain():
            self._hand_back(waiting)
        self.finisher.finish(execution, outcome)
        self.call_later(0.0, self._end_doomed)

    def _end_doomed(self) -> None:
        # Its verdict waits for the effects; the process must not go before them.
        if self.consumer.unsettled and self._held:
            self.call_later(0.01, self._end_doomed)
            return
        self.call_later(0.05, self._listener.doomed)
