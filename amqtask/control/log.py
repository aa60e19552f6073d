"""The control log: orders that outlive their nodes; the last one of a key counts.

A node reads it whenever it connects: it publishes a mark and reads up to it, so that it knows that it has seen all.
Every node hears a broadcast, and one of them is to write it: each waits for a moment of its own length, and leaves it
when another was quicker (in a queue it sees none of the others' entries, and all write; the next reader takes out what
is too much). Where the broker has neither, nothing lasts, and a warning says so.
"""

import json
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from amqtask.clock import Clock
from amqtask.control.entries import Entry, Ledger
from amqtask.control.shelves import SHELVES, Shelf
from amqtask.control.signing import Refused, sign, verify
from amqtask.core.message import Envelope
from amqtask.core.standing import Order
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError, ChannelClosed, ConnectionLost, PermissionDenied
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("control")

LONGEST_WAIT = 0.3
"""Seconds within which one of the nodes has written an order."""
COMPACT_AFTER = 4 * 2**20
"""Bytes that are written until somebody sees to what is useless by then."""
COMPACT_WITHIN = 10.0
"""Seconds in which one of the nodes does."""
INTERNAL_ERROR = 541
"""With this RabbitMQ closes a connection that declares a queue of a type whose feature flag is disabled."""
MARKS_LAST = 60.0
"""Seconds after which nobody waits for a mark any more."""

Change: TypeAlias = tuple[str, Order | None]


class ControlLog:
    """Reads and writes the log of one control exchange. A participant; everything belongs to the session's thread."""

    def __init__(
        self,
        *,
        node: str,
        exchange: str,
        secret: str | None,
        clock: Clock,
        restored: Callable[[Sequence[Change]], None],
        compact_after: int = COMPACT_AFTER,
    ) -> None:
        """`restored` gets what the log says when the node has connected, in the order in which it was written."""
        self._node = node
        self._exchange = exchange
        self._secret = secret
        self._clock = clock
        self._restored = restored
        self._compact_after = compact_after
        self._connection: Connection | None = None
        self._makes = list(SHELVES)
        self._shelf: Shelf | None = None
        self._mark = ""
        self._own_marks: set[str] = set()
        self._ledger: Ledger | None = None
        self._useless: list[int] = []
        self._tells = True
        self._written = 0
        """Bytes since it was last compacted."""
        self._compact_due = NEVER
        self._pending: dict[str, tuple[float, Order | None, bool]] = {}

    def write(self, changes: Sequence[Change], *, only_here: bool) -> None:
        """Have orders kept: for all nodes, or for this one only."""
        now = self._clock.monotonic()
        for key, order in changes:
            wait = 0.0 if only_here else random.random() * LONGEST_WAIT
            self._pending[key] = (now + wait, order, only_here)

    def flush(self) -> None:
        """Write what waits."""
        for key in list(self._pending):
            self._write(key)

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._tells = True
        self._read()

    def lost(self, error: BrokerError) -> None:
        self._connection = self._shelf = self._ledger = None

    def turn(self, now: float) -> float:
        due = NEVER
        for key, (when, _, _) in list(self._pending.items()):
            if self._shelf is None:
                break
            if when <= now:
                self._write(key)
            else:
                due = min(due, when)
        if self._shelf is None:
            return due
        if self._written > self._compact_after and self._ledger is None:
            due = min(due, self._compact_soon(now))
        return min(due, self._shelf.turn(now))

    # The shelf's calls

    def entry(self, position: int, message: Envelope) -> None:
        try:
            self._take(position, message)
        except (ValueError, Refused) as error:
            logger.warning("an entry of the control log is left out: %s", error, extra=event("log-entry-refused"))

    def mark(self) -> None:
        self._mark = uuid.uuid4().hex
        self._own_marks.add(self._mark)
        self._publish({"mark": self._mark, "at": self._clock.time()})

    def gone(self, error: BrokerError) -> None:
        logger.warning("no control log (%s): what is set is forgotten with its nodes", error, extra=event("no-log"))
        self._shelf = None
        self._pending.clear()
        self._finish()

    # Reading

    def _read(self) -> None:
        connection = self._connection
        assert connection is not None, "it is read when it is there"
        self._ledger = Ledger()
        self._own_marks.clear()
        self._useless = []
        self._written = 0
        self._compact_due = NEVER
        while True:
            self._shelf = self._makes[0](connection, self._exchange, self)
            try:
                self._shelf.open()
            except ConnectionLost as error:
                if error.code == INTERNAL_ERROR:
                    self._try_less(error)  # on the next connection
                raise
            except ChannelClosed as error:
                if isinstance(error, PermissionDenied) or not self._try_less(error):
                    self.gone(error)
                    return
            else:
                return

    def _try_less(self, error: BrokerError) -> bool:
        """Whether there is another kind of queue to keep the log in."""
        if len(self._makes) == 1:
            return False
        logger.info("the control log is kept in another kind of queue: %s", error, extra=event("log-kind-refused"))
        del self._makes[0]
        return True

    def _take(self, position: int, message: Envelope) -> None:
        self._written += len(message.body)
        if self._secret is not None:
            verify(self._secret, message.body, message.headers)
        form = json.loads(message.body)
        if not isinstance(form, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - it is data
        if "mark" in form:
            self._take_mark(position, form)
        elif "compacted" in form:
            self._written = 0
        else:
            entry = Entry.from_json(form)
            waiting = self._pending.get(entry.key)
            if waiting is not None and not waiting[2] and _same(waiting[1], entry.order):
                del self._pending[entry.key]  # another node was quicker
            if self._ledger is not None:
                self._ledger.take(position, entry)

    def _take_mark(self, position: int, form: dict[str, object]) -> None:
        mark, at = form["mark"], form.get("at")
        is_old = not isinstance(at, (int, float)) or at + MARKS_LAST < self._clock.time()
        if mark in self._own_marks or is_old:
            self._useless.append(position)
        if mark == self._mark:
            self._finish()

    def _finish(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is None:
            return
        self._mark = ""
        if self._shelf is not None:
            self._compact(self._shelf, ledger)
        if self._tells:
            self._tells = False
            self._restored(ledger.changes(self._node))

    # Compacting

    def _compact_soon(self, now: float) -> float:
        if self._compact_due == NEVER:
            self._compact_due = now + random.random() * COMPACT_WITHIN
        if self._compact_due > now:
            return self._compact_due
        assert self._shelf is not None, "asked before"
        self._shelf.close()
        self._read()
        return NEVER

    def _compact(self, shelf: Shelf, ledger: Ledger) -> None:
        now = self._clock.time()
        shelf.finish([*self._useless, *ledger.useless(now)])
        if shelf.follows:
            if self._written <= self._compact_after:
                return
            for line in ledger.kept(now):
                self._publish(replace(line.entry, of=line.first).to_json())
            self._publish({"compacted": True})
        self._written = 0

    # Writing

    def _write(self, key: str) -> None:
        if self._shelf is None:
            return
        _, order, only_here = self._pending.pop(key)
        self._publish(Entry(key=key, order=order, node=self._node if only_here else None).to_json())

    def _publish(self, form: dict[str, object]) -> None:
        assert self._shelf is not None, "asked before"
        body = json.dumps(form).encode()
        if not self._shelf.follows:
            self._written += len(body)  # else it is counted when it comes
        headers = {}
        if self._secret is not None:
            headers = sign(self._secret, body, now=self._clock.time(), nonce=uuid.uuid4().hex)
        self._shelf.publish(Envelope(body=body, headers=headers, content_type="application/json"))


def _same(one: Order | None, other: Order | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.method, dict(one.arguments)) == (other.method, dict(other.arguments))
