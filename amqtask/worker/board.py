"""The board: shared memory in which a process writes what runs in its slots, and which the supervisor reads.

The supervisor sees what a process was doing when it died, hangs or is stopped, without asking it.
"""

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass

_SLOT = struct.Struct("<dd48s96s")
_IDLE = _SLOT.pack(0.0, 0.0, b"", b"")
_HEAD = struct.Struct("<QQd")
MAX_SLOTS = 4096


@dataclass(frozen=True, slots=True)
class Running:
    """An execution as the board shows it; `started` and `deadline` (0: none) are monotonic instants of the machine."""

    id: str
    task: str
    started: float
    deadline: float


class Board:
    """A page of slots, one writer (the process) and one reader (its supervisor)."""

    def __init__(self, descriptor: int, slots: int) -> None:
        self.slots = min(slots, MAX_SLOTS)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _HEAD.size + self.slots * _SLOT.size)

    @classmethod
    def create(cls, slots: int) -> "Board":
        """A new, empty board in anonymous memory that can be handed to a child."""
        slots = min(slots, MAX_SLOTS)
        descriptor = os.memfd_create("amqtask-board") if hasattr(os, "memfd_create") else _unlinked_file()
        os.ftruncate(descriptor, _HEAD.size + slots * _SLOT.size)
        return cls(descriptor, slots)

    def begin(self, slot: int, started: float, deadline: float, task_id: str, task: str) -> None:
        """The process starts an execution in a slot. About half a microsecond."""
        if slot < self.slots:
            _SLOT.pack_into(
                self._map, _HEAD.size + slot * _SLOT.size, started, deadline, task_id.encode()[:48], task.encode()[:96]
            )

    def end(self, slot: int) -> None:
        """The execution in the slot is over."""
        if slot < self.slots:
            offset = _HEAD.size + slot * _SLOT.size
            self._map[offset : offset + _SLOT.size] = _IDLE

    def count(self, processed: int, reserved: int, pulse: float) -> None:
        """How many executions were finished and how many deliveries are held; `pulse` says when that was."""
        _HEAD.pack_into(self._map, 0, processed, reserved, pulse)

    def counters(self) -> tuple[int, int, float]:
        """(processed, reserved, pulse)."""
        processed, reserved, pulse = _HEAD.unpack_from(self._map, 0)
        return processed, reserved, pulse

    def running(self) -> list[Running]:
        """What runs now."""
        found = []
        for slot in range(self.slots):
            started, deadline, task_id, task = _SLOT.unpack_from(self._map, _HEAD.size + slot * _SLOT.size)
            if started:
                found.append(Running(_text(task_id), _text(task), started, deadline))
        return found

    def close(self) -> None:
        """Let go of the memory."""
        self._map.close()
        os.close(self.descriptor)


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode(errors="replace")


def _unlinked_file() -> int:
    descriptor, path = tempfile.mkstemp(prefix="amqtask-board-")
    os.unlink(path)
    return descriptor
