"""Node: one process's part of a worker. The composition root: it lists its parts in the order of their start."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from amqtask.app import App
from amqtask.builtins import register_builtins
from amqtask.core.admission import Admission, Drop, Wait, admit
from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import DropReason, Ignored, Outcome, Refused
from amqtask.core.prefetch import Governor
from amqtask.core.protocol import read_request
from amqtask.core.request import Request
from amqtask.core.tick import COPY
from amqtask.core.topology import Queue, declare_ops
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError, ContentRefused, MessageError
from amqtask.executors.base import Executor
from amqtask.log import event, get_logger
from amqtask.publisher import Publisher
from amqtask.session import NEVER, Session
from amqtask.worker.backlog import Backlog
from amqtask.worker.board import Board
from amqtask.worker.chords import chords_of
from amqtask.worker.comeback import Comebacks
from amqtask.worker.consumer import Consumer, Subscription
from amqtask.worker.deaths import GRACE, Deaths
from amqtask.worker.early import Early
from amqtask.worker.execute import Executing
from amqtask.worker.execution import Execution
from amqtask.worker.finish import Finisher
from amqtask.worker.flow import Flow
from amqtask.worker.limits import Limits
from amqtask.worker.options import Listener, NodeOptions
from amqtask.worker.outbox import outbox_of
from amqtask.worker.report import label, report_start
from amqtask.worker.starter import Starter
from amqtask.worker.steering import Steering
from amqtask.worker.telling import Telling
from amqtask.worker.ticks import Ticks
from amqtask.worker.timers import Timers
from amqtask.worker.wear import Wear

logger = get_logger("worker")

SECOND_LOOK = 0.05
"""Seconds that the end of a task that ran longer than a heartbeat waits for news of the connection."""


class Node:
    """Consumes, executes and settles in this process."""

    def __init__(
        self, app: App, options: NodeOptions, executor: Executor, board: Board, listener: Listener | None = None
    ) -> None:
        self.options = options
        self.executor = executor
        self._app = app
        self.clock = app.clock
        self._board = board
        self._listener = listener or Listener()
        self._tasks, self._sender = app.tasks, app.parts.sender
        self._running: dict[str, Execution] = {}
        self._held: dict[Execution, None] = {}
        self._timers = Timers()
        self._wear = Wear(max_tasks=options.max_tasks, max_memory=options.max_memory, worn_out=self._listener.worn_out)
        self._stopping = False
        self._suspicious = app.config.broker.heartbeat or NEVER
        self._drained = threading.Event()
        self._deaths = Deaths(options.era or options.name, options.crashes)
        content = app.config.content
        self.accept, self._max_size = content.accept, content.max_decompressed_size
        register_builtins(app.tasks, app)
        starter = Starter(sender=self._sender, options=app.options_of, clock=self.clock, inline=app.parts.inline)
        self._chords = chords_of(app, options.name, starter)
        self.finisher = Finisher(
            node=options.name,
            clock=self.clock,
            outbox=outbox_of(app, options.name, starter),
            chords=self._chords,
            read=lambda execution: self.executing.peek(execution),
            backend=app.backend,
            settle=self._settle,
            ended=self._ended,
            later=self.call_later,
            is_void=lambda delivery: self.consumer.is_void(delivery),
        )
        self._backlog = Backlog(options.queues, strict=options.strict)
        executor.wait_in(self._backlog)
        self.flow = Flow(
            options.flow,
            governor=Governor(executor.capacity, start=options.first_window, ordered=options.is_ordered),
            executor=executor,
            clock=self.clock,
            hand_back=self._hand_back,
            submit=self.executor.submit,
        )
        self.early = Early(self, self._listener.tell)
        self.executing = Executing(
            node=options.name,
            clock=self.clock,
            board=board,
            accept=content.accept,
            max_decompressed_size=content.max_decompressed_size,
            middlewares=app.middleware,
            may_start=self._may_start,
            acknowledge=self.early.acknowledge,
            started=self._started,
            finish=self._finish,
            calm=executor.calm,
        )
        mode = app.config.broker.declare
        # Only --create-missing-queues lets such a name come as far as this.
        missing = [Queue(name=name).declaration() for name in options.queues if name not in app.topology.queues]
        self.consumer = Consumer(
            [Subscription(queue=queue, prefetch=self.flow.window(queue)) for queue in options.queues],
            receive=self._receive,
            wake=self._wake,
            topology=(*declare_ops(app.topology, mode), *missing),
            recover=lambda queue: declare_ops(app.topology, mode, queues=[queue]),
            on_ready=self._listener.ready,
            on_void=self._void,
            ack_batch=options.ack_batch,
            ack_delay=options.ack_delay,
            slots=executor.capacity,
        )
        self._comebacks = Comebacks(self._running, self._held, self.consumer, self.finisher.finish, self.call_later)
        self._ticks = Ticks(self.clock, self._wake, app.publisher.send)
        self.session = Session(
            app.session_options,
            [self.consumer, self._ticks, self],
            name="worker",
            on_failure=self._listener.connect_failed,
        )
        self.flow.attach(self.consumer, self.session)
        self.steering = Steering(self, Telling(self, app.config.events.exchange, workflows=app.config.workflows.record))
        self.limits = Limits(
            executor=executor,
            finish=self.finisher.finish,
            doom=self.doom,
            running=lambda: list(self._running.values()),
            overdue=self.consumer.overdue,
            consumer_timeout=options.consumer_timeout,
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
        """Hand back what runs, uncounted; how many that were. What cannot go back fails: see `wait_drained`."""
        unfinished = [execution for execution in list(self._running.values()) if not execution.ended]
        for early in [execution for execution in unfinished if execution.acked]:
            self.early.give_up(early)
        late = [execution for execution in unfinished if not execution.ended]
        for execution in late:
            self._hand_back(execution)
        if not self._held:
            self._drained.set()
        return len(late)

    def note_crashes(self, crashes: Mapping[str, int]) -> None:
        """Processes of this worker died while they executed these tasks: how many, by id."""
        self._deaths.note(crashes)

    def close(self, timeout: float) -> None:
        """Send what is decided and close the connections; what still runs goes back to its queue."""
        self.steering.telling.close()
        self._app.publisher.flush(timeout)
        told = threading.Event()
        # The second call runs after the poll that writes what the first one's turn has decided.
        self.session.call_soon(lambda: self.session.call_soon(told.set))
        if self.session.is_open and told.wait(timeout):
            threading.Event().wait(self.consumer.unsure(self.clock.monotonic()))
        self.session.stop(timeout)
        self._chords.close(timeout)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have `call` run on the session's thread after so many seconds. From any thread."""
        self._timers.add(self.clock.monotonic() + seconds, call)
        self.session.wake()

    # What may be asked of it

    def active(self) -> list[Execution]:
        """What runs now."""
        return [execution for execution in list(self._running.values()) if execution.started]

    def reserved(self) -> list[Execution]:
        """What came and has not started."""
        return [execution for execution in list(self._held) if not execution.started]

    def wall_time(self, instant: float) -> float:
        """A monotonic instant as seconds since the epoch."""
        return self.clock.time() - (self.clock.monotonic() - instant)

    @property
    def is_stopping(self) -> bool:
        """It takes no more work."""
        return self._stopping

    @property
    def publisher(self) -> Publisher:
        """This process's publisher."""
        return self._app.publisher

    @property
    def processed(self) -> int:
        """How many executions came to their end here."""
        return self._wear.processed

    # The session's calls

    def opened(self, connection: Connection) -> None:
        """Nothing of its own to open."""

    def lost(self, error: BrokerError) -> None:
        """The consumer's `on_void` does it."""

    def turn(self, now: float) -> float:
        """Timers, limits and counters."""
        self._board.count(self._wear.processed, len(self._held), now)
        return min(self._timers.run(now), self.limits.turn(now), self.flow.turn(now), self._wear.turn(now))

    # Deliveries: the I/O thread

    def _receive(self, delivery: Delivery, queue: str) -> None:
        try:
            request = read_request(delivery, accept=self.accept, max_decompressed_size=self._max_size)
        except MessageError as error:
            reason = DropReason.CONTENT_REFUSED if isinstance(error, ContentRefused) else DropReason.MALFORMED
            self.finisher.refuse(delivery, queue, Refused(reason, str(error)))
            return
        if self._comebacks.attach(request, delivery):
            return
        if (execution := self.execution(request, queue)) is None:
            self.finisher.refuse(delivery, queue, Refused(DropReason.UNKNOWN_TASK, f"no task {request.task!r} here"))
            return
        self.steering.telling.received(execution)
        # What killed a process before may kill this one: not before its first message is acknowledged.
        if request.crashes or (delivery.redelivered and execution.effective.on_worker_lost == "fail"):
            self.call_later(GRACE, partial(self._admit, execution))
        else:
            self._admit(execution)

    def _admit(self, execution: Execution) -> None:
        if execution not in self._held:
            return  # handed back, or void, since
        request = execution.request
        admission = admit(
            request,
            now=datetime.fromtimestamp(self.clock.time(), UTC),
            revoked=self.steering.is_revoked(request),
            deaths=self._deaths.of(request),
            max_crashes=self.options.max_crashes,
            fail_when_lost=execution.effective.on_worker_lost == "fail",
        )
        copy = request.headers.get(COPY)
        if isinstance(admission, Drop):
            self.drop(execution, admission.outcome)
        elif copy is None:
            self._submit(execution, admission)
        else:
            self._ticks.claim(request.id, execution.queue, str(copy), partial(self._claimed, execution, admission))

    def drop(self, execution: Execution, outcome: Outcome) -> None:
        """Settle what has not started and never will. From the session's thread."""
        self._held.pop(execution, None)  # it is settled now, and must not be handed back
        self.finisher.finish(execution, outcome)

    def _submit(self, execution: Execution, admission: Admission) -> None:
        if isinstance(admission, Wait):
            self.call_later(admission.seconds, lambda: self.steering.gate.enter(execution))
            return
        self.steering.gate.enter(execution)

    def _claimed(self, execution: Execution, admission: Admission, won: bool) -> None:
        """A tick of beat is this worker's, or another copy of it was quicker."""
        if execution not in self._held:
            return  # handed back, or void, since
        if won:
            self._submit(execution, admission)
            return
        logger.info("%s was sent twice; this copy is not run", label(execution), extra=event("tick-dropped"))
        self.finisher.finish(execution, Ignored())

    def _void(self, generation: int) -> None:
        """The channel is gone:

        what has not started is somebody else's; what runs waits for its message to come again.
        """
        self.steering.gate.void()
        for execution in self.executor.drain():
            self._held.pop(execution, None)  # type: ignore[call-overload]
        for held in self.reserved():
            self._held.pop(held, None)

    def _drain(self) -> None:
        self._stopping = True
        self.consumer.stop()
        self._comebacks.close()
        for execution in [*self.executor.drain(), *self.reserved()]:
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

    def execution(self, request: Request, queue: str) -> Execution | None:
        """A new one, before whose end the process does not end; None where no such task is registered."""
        if (task := self._tasks.find(request.task)) is None:
            return None
        effective = self.steering.effective(self._sender.effective(task.options))
        execution = Execution(request, queue, task, effective, self.executing)
        self._held[execution] = None
        return execution

    def forget(self, execution: Execution) -> None:
        """It does not run here after all: the broker gives its message to somebody else."""
        self._running.pop(execution.id, None)
        self._held.pop(execution, None)

    # Executions: the slots' threads

    def _may_start(self, execution: Execution) -> bool:
        if execution.ended or execution.delivery.generation != self.consumer.generation:
            self._held.pop(execution, None)
            return False
        self._running[execution.id] = execution
        return True

    def _started(self, execution: Execution) -> None:
        self.flow.started(execution.started)
        self.steering.started[execution.request.task] += 1
        self.steering.telling.started(execution)
        report_start(execution)
        if self.limits.add(execution):
            self.session.wake()  # the I/O thread must look at the limits

    def _finish(self, execution: Execution, outcome: Outcome) -> None:
        ran = self.clock.monotonic() - execution.started if execution.started else 0.0
        if self.consumer.is_void(execution.delivery):
            # A consumer that is paused while all slots are busy would not hear the message come again.
            self.flow.ended(execution.queue, ran)
        elif ran < self._suspicious:
            self.finisher.finish(execution, outcome)
            return
        # This process may have been frozen for so long that the broker gave it up: the I/O thread finds that out first.
        self.limits.remove(execution)
        self.call_later(SECOND_LOOK, lambda: self._comebacks.ended(execution, outcome))

    def _settle(self, delivery: Delivery, verdict: Verdict, queue: str) -> None:
        self.consumer.settle(delivery, verdict, at_once=self._backlog.is_low(queue, self.executor.capacity))

    def _ended(self, execution: Execution) -> None:
        if self._running.get(execution.id) is execution:
            del self._running[execution.id]
            self.limits.remove(execution)
            self.flow.ended(execution.queue, self.clock.monotonic() - execution.started)
        self._held.pop(execution, None)
        if execution.acked:
            self.early.over(execution)
        self._wear.ended()
        if self._stopping and not self._held:
            self._drained.set()

    def _wake(self) -> None:
        self.session.wake()

    def doom(self, execution: Execution) -> None:
        """It is settled while its code runs on: take nothing more, and end the process once that is written."""
        self.consumer.pause()
        for waiting in self.executor.drain():
            self._hand_back(waiting)
        self._end_when_settled(execution)

    def _end_when_settled(self, execution: Execution) -> None:
        # Its verdict waits for the effects; the process must not go before them.
        if execution in self._held:
            self.call_later(0.01, lambda: self._end_when_settled(execution))
            return
        self.call_later(0.05, self._listener.doomed)
