"""Steps: records the states of tasks that belong to workflows. A task that belongs to none costs one look at a dict."""

from amqtask.core.message import HeaderValue
from amqtask.core.outcome import Failure, Ignored, Outcome, Refused, Rejected, RetryWanted, Revoked, Success
from amqtask.core.request import Request
from amqtask.core.state import FAILURE, REJECTED, RETRY, REVOKED, STARTED, SUCCESS
from amqtask.core.workflow import ERRBACK, IGNORED, MARK, STEP, StepState
from amqtask.events.model import cut
from amqtask.worker.execution import Execution
from amqtask.workflowlog import WorkflowLog


def mark_of(request: Request) -> dict[str, HeaderValue]:
    """The header that what follows a task has as well, if the task has it."""
    return {MARK: request.headers[MARK]} if MARK in request.headers else {}


class Steps:
    """Tells the log of workflows of executions. From any thread."""

    def __init__(self, log: WorkflowLog, node: str) -> None:
        self._log = log
        self._node = node

    def started(self, execution: Execution, began: float) -> None:
        """A step runs since `began`, in seconds since the epoch."""
        self._note(execution, STARTED, began, started=began)

    def ended(self, execution: Execution, outcome: Outcome, now: float) -> None:
        """A step's outcome is decided; `now` is seconds since the epoch."""
        match outcome:
            case Success(runtime=runtime):
                self._note(execution, SUCCESS, now, started=now - runtime, runtime=runtime)
            case Failure(error=error, runtime=runtime):
                self._note(execution, FAILURE, now, started=now - runtime, runtime=runtime, error=cut(repr(error)))
            case RetryWanted(error=reason, retries=retries):
                told = "" if reason is None else cut(repr(reason))
                self._note(execution, RETRY, now, retries=retries, error=told)
            case Ignored():
                self._note(execution, IGNORED, now)
            case Revoked():
                self._note(execution, REVOKED, now, error="expired" if outcome.expired else "")
            case Rejected(reason=why) if not outcome.requeue:
                self._note(execution, REJECTED, now, error=cut(str(why)))
            case Refused(detail=why):
                self._note(execution, REJECTED, now, error=cut(why))

    def _note(
        self,
        execution: Execution,
        status: str,
        at: float,
        *,
        started: float | None = None,
        runtime: float | None = None,
        retries: int | None = None,
        error: str = "",
    ) -> None:
        request = execution.request
        state = StepState(
            task_id=execution.id,
            task=request.task,
            status=status,
            at=at,
            started=started,
            runtime=runtime,
            retries=request.retries if retries is None else retries,
            worker=self._node,
            error=error,
            parent_id=request.parent_id,
            role=ERRBACK if request.headers.get(MARK) == ERRBACK else STEP,
        )
        self._log.note(request.root_id, state)
