"""Asking: questions to a node's processes, each with a deadline.

A process that did not answer in time is not asked again before it has answered: it is stopped or hangs, and what is
written to it would stay in its pipe until that is full and the supervisor waits, too.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from amqtask.control.commands import ProcessAnswer
from amqtask.core.message import Json
from amqtask.worker.pipe import Note
from amqtask.worker.process import Process

NEVER = float("inf")
PATIENCE = 0.6
"""Seconds for which a process is waited for; who asks the node waits one second by default."""
MOST_UNANSWERED = 64
"""Questions to one process at a time; what is beyond is not asked."""

Then = Callable[[list[ProcessAnswer]], None]


@dataclass(slots=True)
class _Question:
    due: float
    then: Then
    asked: dict[Process, Json]
    open: set[Process] = field(default_factory=set)


class Asking:
    """Questions that are under way. Everything belongs to the supervisor's thread."""

    def __init__(self) -> None:
        self._tickets = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._unanswered: dict[Process, int] = {}
        self._silent: set[Process] = set()

    def ask(
        self,
        processes: Sequence[Process],
        question: str,
        arguments: Mapping[str, Json],
        now: float,
        then: Then,
        *,
        patience: float = PATIENCE,
    ) -> None:
        """Ask these processes; `then` gets what they said, None for those that said nothing in time (seconds)."""
        ticket = next(self._tickets)
        asked = _Question(now + patience, then, dict.fromkeys(processes))
        note: Note = {"do": "ask", "ticket": ticket, "question": question, "arguments": dict(arguments)}
        for process in processes:
            if process in self._silent or self._unanswered.get(process, 0) >= MOST_UNANSWERED or not process.ready:
                continue
            if process.send(note):
                asked.open.add(process)
                self._unanswered[process] = self._unanswered.get(process, 0) + 1
        if asked.open:
            self._questions[ticket] = asked
        else:
            _finish(asked)

    def heard(self, process: Process, ticket: int, value: Json) -> None:
        """A process answered."""
        self._silent.discard(process)
        self._unanswered[process] = max(0, self._unanswered.get(process, 0) - 1)
        question = self._questions.get(ticket)
        if question is None:
            return  # too late
        question.asked[process] = value
        question.open.discard(process)
        self._look(ticket, question)

    def gone(self, process: Process) -> None:
        """It will answer nothing any more."""
        self._silent.discard(process)
        self._unanswered.pop(process, None)
        for ticket, question in list(self._questions.items()):
            if process in question.open:
                question.open.discard(process)
                self._look(ticket, question)

    def turn(self, now: float) -> float:
        """Go on without those that are late; when the next one will be."""
        for ticket, question in list(self._questions.items()):
            if question.due <= now:
                self._silent |= question.open
                question.open.clear()
                self._look(ticket, question)
        return min((question.due for question in self._questions.values()), default=NEVER)

    def _look(self, ticket: int, question: _Question) -> None:
        if not question.open:
            del self._questions[ticket]
            _finish(question)


def _finish(question: _Question) -> None:
    question.then([ProcessAnswer(process.index, process.pid, value) for process, value in question.asked.items()])
