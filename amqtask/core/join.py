"""What is in the queue of a chord, and when that is enough for its body.

The first message opens the chord: its size and its body. Each member that came to its end adds a part: its result, or
why there is none. A member that adds another one to the chord says so before. Messages may come twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from amqtask.core.glimpse import glimpse
from amqtask.core.signature import Signature
from amqtask.errors import MalformedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The first message: how many members there are, and what is called with their results."""

    size: int
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A member came to its end: `failure` says why it has no `value`, and is None where it has one."""

    task_id: str
    index: int | None
    value: object = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A member added a member of this id."""

    task_id: str


Note: TypeAlias = Opening | Part | Addition


def to_form(note: Note) -> dict[str, object]:
    """The message's body."""
    if isinstance(note, Opening):
        return {"size": note.size, "body": note.body}
    if isinstance(note, Addition):
        return {"added": note.task_id}
    return {"task_id": note.task_id, "index": note.index, "value": note.value, "failure": note.failure}


def from_form(form: object) -> Note:
    """The note of a message's body.

    Raises:
        MalformedMessage: it is none.
    """
    match form:
        case {"size": int(size), "body": Mapping() as body}:
            return Opening(size=size, body=body)
        case {"added": str(task_id)}:
            return Addition(task_id=task_id)
        case {
            "task_id": str(task_id),
            "index": int() | None as index,
            "value": value,
            "failure": str() | None as failure,
        }:
            return Part(task_id=task_id, index=index, value=value, failure=failure)
    raise MalformedMessage(f"a chord's queue holds {glimpse(form)}")


class Tally:
    """What was found in a chord's queue so far."""

    def __init__(self, size: int, body: Signature) -> None:
        """What the member that looks knows of the chord; an opening says it better."""
        self._size = size
        self.body = body
        self._parts: dict[str, Part] = {}
        self._added: set[str] = set()

    def note(self, note: Note) -> None:
        """Count a message in."""
        if isinstance(note, Opening):
            self._size = note.size
            self.body = Signature.from_json(note.body)
        elif isinstance(note, Addition):
            self._added.add(note.task_id)
        else:
            known = self._parts.get(note.task_id)
            # Of a member that ran twice, a success counts.
            if known is None or known.failure is not None:
                self._parts[note.task_id] = note

    @property
    def is_complete(self) -> bool:
        """Whether all members are there."""
        return len(self._parts) >= self._size + len(self._added)

    @property
    def failure(self) -> Part | None:
        """The first member in order that failed."""
        return next((part for part in self._in_order() if part.failure is not None), None)

    def values(self) -> list[object]:
        """The results in the order of the header; what was added comes last."""
        return [part.value for part in self._in_order()]

    def _in_order(self) -> list[Part]:
        return sorted(self._parts.values(), key=lambda part: (part.index is None, part.index or 0, part.task_id))
