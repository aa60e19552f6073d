"""Finishing: performs the effects of a decision in their order, sees each to its end, and settles the delivery last."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from amqtask.clock import Clock
from amqtask.core.body import TaskBody
from amqtask.core.failure import exception_to_dict
from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import Failure, Outcome, Refused, Rejected, RetryWanted, Revoked, Success
from amqtask.core.rest import rest_queue
from amqtask.core.settlement import (
    CallErrbacks,
    Continue,
    Death,
    Decision,
    Effect,
    Emit,
    FailPart,
    Policy,
    Republish,
    ReturnPart,
    StoreResult,
    Terms,
    decide,
    fenced,
)
from amqtask.core.state import FINAL_STATES, REVOKED, SUCCESS, ResultRef, TaskResult
from amqtask.core.workflow import MARK
from amqtask.log import event, get_logger
from amqtask.results.base import ResultBackend
from amqtask.ticket import Ticket
from amqtask.worker.effects import Chords, Outbox
from amqtask.worker.execute import ignores_result
from amqtask.worker.execution import Execution
from amqtask.worker.report import label, report
from amqtask.worker.sending import Done, send_all

logger = get_logger("worker")

EFFECT_TRIES = 4
"""How often an effect that failed is tried before the task's `on_effect_failure` decides."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """What happened to the deliveries of a process, by outcome."""

    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    rejected: int = 0
    revoked: int = 0
    refused: int = 0


class Finisher:
    """Finishes executions. `finish` may be called from any thread, once an execution; a second outcome is dropped."""

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        outbox: Outbox,
        chords: Chords,
        read: Callable[[Execution], TaskBody | None],
        backend: ResultBackend,
        settle: Callable[[Delivery, Verdict, str], None],
        ended: Callable[[Execution], None],
        later: Callable[[float, Callable[[], None]], None],
        is_void: Callable[[Delivery], bool],
        emit: Callable[[str, Execution, Outcome], None] | None = None,
    ) -> None:
        """`ended` hears when nothing of an execution is left to do; `later` calls back after so many seconds.

        `read` decodes the body of one that was never started; `is_void` says whether the broker has taken a delivery
        back.
        """
        self._node = node
        self._clock = clock
        self._outbox = outbox
        self._chords = chords
        self._read = read
        self._backend = backend
        self._settle = settle
        self._ended = ended
        self._later = later
        self._is_void = is_void
        self.emit = emit
        """Takes events; None while nobody wants any, so that they cost nothing."""
        self.step_ended: Callable[[Execution, Outcome], None] | None = None
        """Hears of the ends of workflows' steps; None where they are not recorded."""
        self.counters = Counters()

    def finish(self, execution: Execution, outcome: Outcome) -> None:
        """Decide what becomes of an execution, and do it."""
        if execution.ended:
            return
        execution.ended = True
        self._count(execution, outcome)
        if execution.body is None and isinstance(outcome, Failure | Revoked):
            # It never ran, but who waits for its chord or has an errback on it must hear of it.
            execution.body = self._read(execution)
        decision = decide(outcome, self._terms(execution))
        if execution.started and not execution.acked and self._is_void(execution.delivery):
            execution.stale = True
            logger.warning(
                "%s ended after the broker had taken its message back; another worker may run it as well",
                label(execution),
                extra=event("stale", task_id=execution.id),
            )
            decision = fenced(decision)
        elif self.step_ended is not None and MARK in execution.request.headers:
            self.step_ended(execution, outcome)
        if not decision.effects and decision.death is None:
            if decision.verdict is not None:
                self._settle(execution.delivery, decision.verdict, execution.queue)
            self._ended(execution)
            return
        if decision.verdict is not Verdict.DEAD_LETTER and len(decision.effects) == 1:
            effect = decision.effects[0]
            if isinstance(effect, Emit) and self.emit is not None:
                # Nothing can fail or take time: no machinery for the one effect that is asked for most often.
                self.emit(effect.type, execution, effect.outcome)
                if decision.verdict is not None:
                    self._settle(execution.delivery, decision.verdict, execution.queue)
                self._ended(execution)
                return
        _Settling(self, execution, decision).step(None)

    def refuse(self, delivery: Delivery, queue: str, refused: Refused) -> None:
        """Settle a delivery that never became an execution."""
        self.counters.refused += 1
        logger.error(
            "refused a message of %s: %s; it goes to the dead letters",
            queue,
            refused.detail,
            extra=event("refused", queue=queue, reason=refused.reason.value),
        )
        self.bury(delivery, queue, Death(refused.reason.value, refused.detail), lambda: None)

    def bury(self, delivery: Delivery, queue: str, death: Death, then: Callable[[], None]) -> None:
        """To the dead letters:

        a confirmed copy that says why, then the ack; a plain reject where there is no such place.
        """
        ticket = self._outbox.dead_letter(delivery, queue, death)
        if ticket is None:
            logger.warning(
                "%s has no dead-letter queue in the configuration; the message is rejected",
                queue,
                extra=event("reject"),
            )
            self._settle(delivery, Verdict.DEAD_LETTER, queue)
            then()
            return

        def buried(sent: Ticket) -> None:
            if sent.error is None:
                self._settle(delivery, Verdict.ACK, queue)
            else:
                # The broker's own dead-lettering needs no publishing by us; it only cannot say why.
                logger.error(
                    "cannot write a dead letter (%s); rejecting", sent.error, extra=event("dead-letter-failed")
                )
                self._settle(delivery, Verdict.DEAD_LETTER, queue)
            then()

        ticket.on_done = buried
        self._outbox.send(ticket)

    def perform(self, execution: Execution, effect: Effect, done: Done) -> None:
        """Start an effect; `done` is called once it is seen to its end."""
        if isinstance(effect, StoreResult):
            self._store(execution, effect, done)
        elif isinstance(effect, Republish):
            self._send_all([self._outbox.again(execution.request, execution.body, execution.queue, effect)], done)
        elif isinstance(effect, Continue):
            self._continue(execution, effect.value, done)
        elif isinstance(effect, CallErrbacks):
            self._send_all(self._outbox.errbacks(execution, effect.error, effect.traceback), done)
        elif isinstance(effect, ReturnPart):
            self._chords.returned(execution, effect.value, done)
        elif isinstance(effect, FailPart):
            self._chords.failed(execution, effect.error, done)
        else:
            self._tell(execution, effect, done)

    def settle_now(self, execution: Execution, verdict: Verdict | None, death: Death | None) -> None:
        """The last act."""
        if verdict is Verdict.DEAD_LETTER and death is not None:
            self.bury(execution.delivery, execution.queue, death, lambda: self._ended(execution))
            return
        if verdict is not None:
            self._settle(execution.delivery, verdict, execution.queue)
        self._ended(execution)

    def retry_later(self, attempt: int, call: Callable[[], None]) -> None:
        """Call back after a pause that grows with the attempts."""
        self._later(min(2.0 ** (attempt - 1), 10.0), call)

    def _continue(self, execution: Execution, value: object, done: Done) -> None:
        chain = execution.body.chain if execution.body is not None else ()
        queue = rest_queue(chain[-1]) if chain else None

        def resume(error: Exception | None) -> None:
            if error is not None or queue is None:
                done(error)
            else:
                self._chords.resume(execution, queue, value, done)

        self._send_all(self._outbox.follow(execution, value), resume)

    def _store(self, execution: Execution, effect: StoreResult, done: Done) -> None:
        request = execution.request
        final = effect.status in FINAL_STATES
        value = effect.value if effect.error is None else exception_to_dict(effect.error)
        if effect.status == REVOKED:
            value = {"exc_type": "TaskRevoked", "exc_message": [effect.value], "exc_module": "amqtask.errors"}
        sent = execution.context.children if execution.context is not None else ()
        children = [ResultRef(id=child) for child in sent]
        if effect.status == SUCCESS:
            children += self._outbox.followers(execution)
        result = TaskResult(
            task_id=request.id,
            status=effect.status,
            result=value,
            traceback=effect.traceback or None,
            children=tuple(children),
            date_done=datetime.fromtimestamp(self._clock.time(), UTC) if final else None,
            parent_id=request.parent_id,
            root_id=request.root_id,
            group_id=request.group_id,
            name=request.task,
            worker=self._node,
            retries=request.retries,
            queue=execution.queue,
            stale=execution.stale,
        )
        self._backend.store(result, reply_to=request.reply_to, done=done)

    def _send_all(self, tickets: Sequence[Ticket], done: Done) -> None:
        send_all(self._outbox.send, tickets, done)

    def _tell(self, execution: Execution, effect: Emit, done: Done) -> None:
        emit = self.emit
        if emit is not None:
            emit(effect.type, execution, effect.outcome)
        done(None)

    def _terms(self, execution: Execution) -> Terms:
        effective, body = execution.effective, execution.body
        return _terms(
            not execution.acked,
            effective.dead_letter,
            ignores_result(execution),
            body is not None and bool(body.callbacks or body.chain),
            body is not None and bool(body.errbacks),
            # The end of a chain that breaks may be a member.
            body is not None and bool(body.chord or body.chain),
            self.emit is not None,
            effective.on_effect_failure,
        )

    def _count(self, execution: Execution, outcome: Outcome) -> None:
        counters = self.counters
        if isinstance(outcome, Success):
            counters.succeeded += 1
        elif isinstance(outcome, Failure):
            counters.failed += 1
        elif isinstance(outcome, RetryWanted):
            counters.retried += 1
        elif isinstance(outcome, Revoked):
            counters.revoked += 1
        elif isinstance(outcome, Refused):
            counters.refused += 1
        elif isinstance(outcome, Rejected):
            counters.rejected += 1
        report(execution, outcome)


class _Settling:
    """The effects of one execution, one after another, and its verdict."""

    __slots__ = ("_attempt", "_decision", "_execution", "_finisher", "_next")

    def __init__(self, finisher: Finisher, execution: Execution, decision: Decision) -> None:
        self._finisher = finisher
        self._execution = execution
        self._decision = decision
        self._next = 0
        self._attempt = 0

    def step(self, error: Exception | None) -> None:
        """Go on after an effect: to the next one, to another try, or to the verdict."""
        if error is not None:
            self._failed(error)
            return
        self._attempt = 0
        self._go_on()

    def _go_on(self) -> None:
        effects = self._decision.effects
        if self._next == len(effects):
            self._finisher.settle_now(self._execution, self._decision.verdict, self._decision.death)
            return
        effect = effects[self._next]
        self._next += 1
        try:
            self._finisher.perform(self._execution, effect, self.step)
        except Exception as fault:
            # A message that cannot be built, a backend that raises: like any effect that fails.
            logger.exception("%s cannot be performed", type(effect).__name__, extra=event("effect-fault"))
            self.step(fault)

    def _failed(self, error: Exception) -> None:
        execution = self._execution
        self._attempt += 1
        effect = self._decision.effects[self._next - 1]
        if self._attempt < EFFECT_TRIES:
            logger.warning(
                "%s: %s failed (%s); trying again",
                label(execution),
                type(effect).__name__,
                error,
                extra=event("effect-failed", task_id=execution.id),
            )
            self._next -= 1
            self._finisher.retry_later(self._attempt, self._go_on)
            return
        policy = execution.effective.on_effect_failure
        logger.error(
            "%s: %s failed for good (%s); the message is %s",
            label(execution),
            type(effect).__name__,
            error,
            "requeued" if policy is Policy.REQUEUE else "acknowledged",
            extra=event("effect-given-up", task_id=execution.id),
        )
        verdict = Verdict.REQUEUE if policy is Policy.REQUEUE else Verdict.ACK
        self._finisher.settle_now(execution, None if self._decision.verdict is None else verdict, None)


@functools.lru_cache(512)
def _terms(
    acks_late: bool,
    dead_letter: bool,
    ignore_result: bool,
    links: bool,
    errbacks: bool,
    chord: bool,
    events: bool,
    on_effect_failure: Policy,
) -> Terms:
    """There are few of them; making one costs more than the rest of the decision."""
    return Terms(
        acks_late=acks_late,
        dead_letter=dead_letter,
        ignore_result=ignore_result,
        links=links,
        errbacks=errbacks,
        chord=chord,
        events=events,
        on_effect_failure=on_effect_failure,
    )
