"""Log: the fold of a totally ordered log of records into a book. It decides, alike for all readers, what counts.

A beat that takes over appends a `take` with the next epoch; the first take of an epoch holds it. States that were
written under another epoch than the one that holds do not count: so a beat that was frozen, and goes on when another
leads, changes nothing. The log is cut at its old end, hence copies: from time to time its holder writes all again.

Records are JSON objects:

    {"v": 1, "id": …, "take": 4, "by": "…"}                          epoch 4 is taken
    {"v": 1, "id": …, "epoch": 4, "by": "…", "states": {name: […]}}  the newest states; null forgets one
    {"v": 1, "id": …, "patch": {name: {…}}}                          edits; null takes those of the entry back
    {"v": 1, "id": …, "epoch": …, "by": …, "copy": {name: [n, {…}]}} edits once more: the outcome of n of them
    {"v": 1, "id": …}                                                nothing: a mark, to read up to
"""

import json
from collections.abc import Iterable, Iterator, Mapping

from amqtask.beat.book import VERSION, Book, Kept, Overlay, patched
from amqtask.errors import InvalidSchedule

BATCH = 200
"""Entries in one record of a copy."""


class Log:
    """What has been read of a log. Not safe for use from several threads."""

    def __init__(self) -> None:
        self.epoch = 0
        self.holder = ""
        self.since_copy = 0
        """Octets of the records since the last copy began."""
        self._states: dict[str, Kept] = {}
        # How many edits were made, and the overlay. Those that were taken back stay as None: a copy that was begun
        # before must not bring them back.
        self._edits: dict[str, tuple[int, dict[str, object] | None]] = {}

    def book(self) -> Book:
        """What holds after all that was read."""
        edits = {name: overlay for name, (_, overlay) in self._edits.items() if overlay is not None}
        return Book(states=dict(self._states), edits=edits)

    def holds(self, epoch: int, by: str) -> bool:
        """Whether this beat is the one whose states count."""
        return (epoch, by) == (self.epoch, self.holder)

    def apply(self, body: bytes) -> str:
        """Read one record; its id. What is no record at all, somebody's stray message, is passed over.

        Raises:
            InvalidSchedule: it is of a later version, or damaged.
        """
        self.since_copy += len(body)
        try:
            record = json.loads(body)
        except ValueError:
            return ""
        if not isinstance(record, dict) or "v" not in record:
            return ""
        if record["v"] != VERSION:
            raise InvalidSchedule(f"beat's log has records of version {record['v']!r}; this beat knows {VERSION}")
        if "take" in record:
            self._take(int(record["take"]), str(record["by"]))
        elif "epoch" in record and self._counts(int(record["epoch"]), str(record["by"])):
            self._copy(record)
        for name, patch in record.get("patch", {}).items():
            count, overlay = self._edits.get(name, (0, None))
            self._edits[name] = (count + 1, patched(overlay, patch))
        return str(record.get("id", ""))

    def copies(self) -> Iterator[bytes]:
        """The records that say all of it again."""
        self.since_copy = 0
        for part in _parts(self._states):
            yield self.states("", self.epoch, self.holder, {name: self._states[name] for name in part})
        for part in _parts(self._edits):
            yield _record("", epoch=self.epoch, by=self.holder, copy={name: list(self._edits[name]) for name in part})

    @staticmethod
    def mark(record_id: str) -> bytes:
        """A record that says nothing; whoever reads it has read all before it."""
        return _record(record_id)

    @staticmethod
    def states(record_id: str, epoch: int, by: str, states: Mapping[str, Kept | None]) -> bytes:
        """A record of states; None forgets one."""
        forms = {name: None if kept is None else kept.to_json() for name, kept in states.items()}
        return _record(record_id, epoch=epoch, by=by, states=forms)

    @staticmethod
    def patch(record_id: str, name: str, patch: Overlay | None) -> bytes:
        """A record of one edit."""
        return _record(record_id, patch={name: patch})

    @staticmethod
    def take(record_id: str, epoch: int, by: str) -> bytes:
        """A record that takes an epoch."""
        return _record(record_id, take=epoch, by=by)

    def _take(self, epoch: int, by: str) -> None:
        if epoch > self.epoch:
            self.epoch, self.holder = epoch, by

    def _counts(self, epoch: int, by: str) -> bool:
        # A higher epoch than the one that is known: its take was at the end of the log that has been cut off.
        self._take(epoch, by)
        return self.holds(epoch, by)

    def _copy(self, record: Mapping[str, Mapping[str, list[object] | None]]) -> None:
        for name, form in record.get("states", {}).items():
            if form is None:
                self._states.pop(name, None)
            else:
                self._states[name] = Kept.from_json(form)
        for name, edit in record.get("copy", {}).items():
            match edit:
                case [int() as count, dict() | None as overlay] if count >= self._edits.get(name, (0, None))[0]:
                    self._edits[name] = (count, overlay)


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    rest = list(names)
    while rest:
        part, rest = rest[:BATCH], rest[BATCH:]
        yield part


def _record(record_id: str, **members: object) -> bytes:
    return json.dumps({"v": VERSION, "id": record_id, **members}, separators=(",", ":")).encode()
