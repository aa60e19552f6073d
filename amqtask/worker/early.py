"""Early acknowledgement: tasks with `acks_late=False` in one process.

Such a task is the broker's no more when it starts. So the supervisor is told before, with what is needed to give it an
end: should this process die, another one does (`amqtask.worker.orphans`). A task whose process is killed in the instant
between the acknowledgement and that word is lost without a trace.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from amqtask.core.content import decode_envelope, encode_header
from amqtask.core.message import Delivery, Verdict
from amqtask.core.outcome import Failure
from amqtask.core.protocol import read_request
from amqtask.errors import WorkerLost
from amqtask.log import event, get_logger
from amqtask.worker.execution import Execution
from amqtask.worker.pipe import Note

if TYPE_CHECKING:
    from amqtask.worker.node import Node

logger = get_logger("worker")


class Early:
    """A node's part in it. `tell` says something to the supervisor; there is none where the node has its process."""

    def __init__(self, node: "Node", tell: Callable[[Note], None] | None) -> None:
        self._node = node
        self._tell = tell

    def acknowledge(self, execution: Execution, then: Callable[[], object]) -> None:
        """Acknowledge before the task runs, and see it written: it must not run twice."""

        def written() -> None:
            if execution.delivery.generation == self._node.consumer.generation:
                execution.acked = True
                if self._tell is not None:
                    self._tell(to_note(execution, self._node.clock.monotonic()))
            else:
                self._node.forget(execution)
            then()

        self._node.consumer.settle(execution.delivery, Verdict.ACK, at_once=True)
        # The first call runs in the turn that settles, the second after the poll that writes.
        self._node.session.call_soon(lambda: self._node.session.call_soon(written))

    def over(self, execution: Execution) -> None:
        """Nothing is left to do for a task that was acknowledged early."""
        if self._tell is not None:
            self._tell({"is": "early-over", "id": execution.id})

    def give_up(self, execution: Execution) -> None:
        """It runs still, and the process is about to end: its message cannot go back."""
        self._lose(execution, "the worker stopped before the task had ended")

    def adopt(self, note: Note) -> None:
        """Give a task of a process that died its end: it failed. From any thread."""
        self._node.session.call_soon(partial(self._fail, note))

    def _fail(self, note: Note) -> None:
        delivery = to_delivery(note)
        request = read_request(delivery, accept=self._node.accept)
        execution = self._node.execution(request, note["queue"])
        if execution is None:
            logger.error("nobody knows %s[%s] any more", request.task, request.id, extra=event("unknown-orphan"))
            return
        execution.acked = True
        execution.started = note["started"]
        self._lose(execution, "the process that ran the task died")

    def _lose(self, execution: Execution, how: str) -> None:
        ran = self._node.clock.monotonic() - execution.started
        error = WorkerLost(f"{how}; its message was acknowledged before, and does not run again")
        self._node.finisher.finish(execution, Failure(error, runtime=ran, expected=True))


def to_note(execution: Execution, started: float) -> Note:
    """What gives a task its end without this process; `started` is a monotonic instant of the machine.

    The arguments are left out, unless errbacks or a chord are in the same body.
    """
    envelope, body = execution.request.delivery.envelope, execution.body
    if body is None or not (body.errbacks or body.chain or body.chord):
        envelope = replace(envelope, body=b"")
    return {
        "is": "early",
        "id": execution.id,
        "queue": execution.queue,
        "started": started,
        "header": base64.b64encode(encode_header(envelope)).decode(),
        "body": base64.b64encode(envelope.body).decode(),
    }


def to_delivery(note: Note) -> Delivery:
    """The message of which a note tells. It cannot be settled any more."""
    envelope = decode_envelope(base64.b64decode(note["header"]), base64.b64decode(note["body"]))
    return Delivery(envelope, 0, 0, "", "", note["queue"], redelivered=True)
