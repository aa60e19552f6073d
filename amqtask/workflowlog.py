"""The log of workflows: streams that keep for a day what was sent as a canvas, and the states of its steps.

It is for looking only: what is not written, because the broker has no streams or takes nothing, changes nothing for
the tasks. Steps' states are gathered for a moment and sent unconfirmed; a process that is killed takes its last ones
along.
"""

import json
import threading
import zlib
from collections.abc import Callable, Iterable

from amqtask.clock import Clock
from amqtask.core.declare import DeclareQueue, Recipe
from amqtask.core.message import TRANSIENT, Envelope
from amqtask.core.signature import Signature
from amqtask.core.workflow import Entry, Graph, StepState, entry_to_json, outline
from amqtask.log import event, get_logger
from amqtask.publisher import Publisher
from amqtask.ticket import Ticket

logger = get_logger("workflows")

STREAMS = 4
SIZE = 64 * 2**20
SEGMENT = 4 * 2**20
KEEP = 86_400
"""Seconds; a stream forgets whole segments, so it may be longer."""
FLUSH_AFTER = 0.2
"""Seconds that a state waits for others."""
PATIENCE = 5.0
"""Seconds after which a record that could not be written is dropped."""


def stream_of(root_id: str) -> DeclareQueue:
    """The stream that has a workflow's records."""
    return DeclareQueue(
        name=f"aqt.workflows.{zlib.crc32(root_id.encode()) % STREAMS}",
        arguments={
            "x-queue-type": "stream",
            "x-max-age": f"{KEEP}s",
            "x-max-length-bytes": SIZE,
            "x-stream-max-segment-size-bytes": SEGMENT,
        },
    )


class WorkflowLog:
    """Writes. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Clock,
        publisher: Callable[[], Publisher],
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        """`later` calls back after so many seconds; without it states are written one by one."""
        self._clock = clock
        self._publisher = publisher
        self._later = later
        self._waiting: dict[str, list[Entry]] = {}
        self._lock = threading.Lock()
        self._is_refused = False

    def sent(self, canvas: Signature, *, root_id: str, parent_id: str | None) -> None:
        """A frozen canvas is about to be sent."""
        self._write(root_id, [Graph(outline=outline(canvas), parent_id=parent_id, at=self._clock.time())])

    def note(self, root_id: str, state: StepState) -> None:
        """A step came to a state."""
        with self._lock:
            is_first = not self._waiting
            self._waiting.setdefault(root_id, []).append(state)
        if self._later is None:
            self.flush()
        elif is_first:
            self._later(FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for root_id, states in waiting.items():
            self._write(root_id, states)

    def _write(self, root_id: str, entries: Iterable[Entry]) -> None:
        if self._is_refused:
            return
        body = json.dumps([entry_to_json(entry) for entry in entries]).encode()
        stream = stream_of(root_id)
        envelope = Envelope(body=body, correlation_id=root_id, content_type="application/json", delivery_mode=TRANSIENT)
        ticket = Ticket(
            envelope,
            "",
            stream.name,
            deadline=self._clock.monotonic() + PATIENCE,
            mandatory=False,
            confirm=False,
            needs=(Recipe(stream.name, (stream,)),),
            on_done=self._written,
        )
        self._publisher().send(ticket)

    def _written(self, ticket: Ticket) -> None:
        if ticket.error is None or self._is_refused:
            return
        logger.warning(
            "workflows are not recorded from now on, `amqtask workflow show` will not know them: %s",
            ticket.error,
            extra=event("workflow-log-refused"),
        )
        self._is_refused = True
