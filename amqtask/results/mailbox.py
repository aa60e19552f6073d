"""Replies that came, until somebody asks: bounded in memory, and decoded only when somebody does."""

import collections
import threading

from amqtask.core.state import UNKNOWN, TaskResult, supersedes
from amqtask.results.codec import Payload, ResultCodec

_OVERHEAD = 512
"""About what an entry costs beside its body, in bytes."""

_EXPECTED = 1_000_000


class Mailbox:
    """The replies to one client process, and the ids of which replies may come. Thread-safe."""

    def __init__(self, codec: ResultCodec, keep: int) -> None:
        """`keep` is the bytes of replies that are kept; the oldest go first."""
        self._codec = codec
        self._keep = keep
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[str, tuple[Payload | TaskResult, int]] = collections.OrderedDict()
        self._size = 0
        self._expected: dict[str, None] = {}
        self._knows_all_expected = True

    @property
    def size(self) -> int:
        """The bytes that are kept, about."""
        return self._size

    def expect(self, task_id: str) -> None:
        """A reply for this id may come."""
        with self._lock:
            self._expected[task_id] = None
            if len(self._expected) > _EXPECTED:
                # From here on an id that is not known may be one that was dropped here.
                self._knows_all_expected = False
                del self._expected[next(iter(self._expected))]

    def put(self, task_id: str, payload: Payload) -> None:
        """Keep a reply as it came. The second one of a task is compared with the first, which means decoding both."""
        with self._lock:
            present = self._entries.get(task_id)
            if present is None:
                self._keep_entry(task_id, payload, len(payload.body))
                return
        self.merge(self._codec.decode(payload), len(payload.body))

    def merge(self, result: TaskResult, size: int) -> bool:
        """Keep a decoded reply unless a better one is there; whether it was kept."""
        task_id = result.task_id
        with self._lock:
            present = self._entries.get(task_id)
            known = None if present is None else self._decoded(present[0])
            if not supersedes(result, known):
                return False
            self._keep_entry(task_id, result, size)
            return True

    def latest(self, task_id: str) -> TaskResult | None:
        """The reply that counts most; None if one may come; a report of UNKNOWN if none can."""
        with self._lock:
            present = self._entries.get(task_id)
            if present is None:
                if task_id in self._expected or not self._knows_all_expected:
                    return None
                return TaskResult(task_id=task_id, status=UNKNOWN)
            entry, size = present
            result = self._decoded(entry)
            if result is not entry:
                self._entries[task_id] = (result, size)
            return result

    def knows(self, task_id: str) -> bool:
        """Whether a reply is here or expected."""
        with self._lock:
            return task_id in self._entries or task_id in self._expected

    def forget(self, task_id: str) -> None:
        """Drop the reply and expect none."""
        with self._lock:
            self._expected.pop(task_id, None)
            present = self._entries.pop(task_id, None)
            if present is not None:
                self._size -= present[1] + _OVERHEAD

    def _decoded(self, entry: Payload | TaskResult) -> TaskResult:
        return entry if isinstance(entry, TaskResult) else self._codec.decode(entry)

    def _keep_entry(self, task_id: str, entry: Payload | TaskResult, size: int) -> None:
        replaced = self._entries.pop(task_id, None)
        if replaced is not None:
            self._size -= replaced[1] + _OVERHEAD
        self._entries[task_id] = (entry, size)
        self._size += size + _OVERHEAD
        while self._size > self._keep and len(self._entries) > 1:
            dropped, (_, dropped_size) = self._entries.popitem(last=False)
            self._size -= dropped_size + _OVERHEAD
            self._expected.pop(dropped, None)
