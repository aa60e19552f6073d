"""Emitter: events of tasks from one process, in batches. It never makes a task wait: what is too much is dropped."""

import collections
import os
import threading
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as _text

from amqtask.clock import Clock
from amqtask.events.model import BATCH_KEY, envelope_of, recipe
from amqtask.events.pulse import utc_offset
from amqtask.log import event, get_logger
from amqtask.publisher import Publisher
from amqtask.ticket import Ticket

logger = get_logger("events")

BATCH = 250
FLUSH_AFTER = 0.25
"""Seconds that an event waits for others."""
MOST_WAITING = 5000
MOST_UNDER_WAY = 20
"""Batches that are not written yet; while the broker takes none, events are dropped."""
KEEP_FOR = 5.0
"""Seconds after which an unwritten batch is of no use to anybody."""


class Emitter:
    """Gathers events and publishes them. Thread-safe."""

    def __init__(
        self,
        *,
        node: str,
        exchange: str,
        clock: Clock,
        publisher: Callable[[], Publisher],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """`later` calls back after so many seconds, on some thread."""
        self._node = node
        self._exchange = exchange
        self._clock = clock
        self._publisher = publisher
        self._later = later
        self._needs = (recipe(exchange),)
        self._waiting: collections.deque[str] = collections.deque()
        self._flush_due = False
        self._under_way = 0
        self._time = 0
        self._lock = threading.Lock()
        self._common = f'"hostname":{_text(node)},"pid":{os.getpid()},"utcoffset":{utc_offset()}'
        self.sent = 0
        self.dropped = 0
        """How many events were dropped."""

    def emit(self, kind: str, fields: Mapping[str, str | float | bool | None]) -> None:
        """Send an event, soon. What is None is left out; the fields' names are plain words."""
        if len(self._waiting) >= MOST_WAITING:
            self._drop(1)
            return
        self._time += 1
        # Written out here and now: an encoder that walks through dicts takes four times as long, and this is what
        # events cost a task (50 µs for its three events, 11 like this).
        parts = [f'{{"type":"{kind}",{self._common},"timestamp":{self._clock.time()!r},"clock":{self._time}']
        for name, value in fields.items():
            if isinstance(value, str):
                parts.append(f'"{name}":{_text(value)}')
            elif type(value) in (int, float):
                parts.append(f'"{name}":{value!r}')
            elif value is not None:
                parts.append(f'"{name}":{"true" if value else "false"}')
        self._waiting.append(",".join(parts) + "}")
        if len(self._waiting) >= BATCH:
            self.flush()
        elif not self._flush_due:
            self._flush_due = True
            self._later(FLUSH_AFTER, self._flush_now)

    def flush(self) -> None:
        """Hand what waits to the publisher."""
        while True:
            with self._lock:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not batch:
                    return
                if self._under_way >= MOST_UNDER_WAY:
                    self._drop(len(batch))
                    continue
                self._under_way += 1
            self._publish(batch)

    def _flush_now(self) -> None:
        self._flush_due = False
        self.flush()

    def _publish(self, batch: list[str]) -> None:
        deadline = self._clock.monotonic() + KEEP_FOR
        ticket = Ticket(
            envelope_of(f"[{','.join(batch)}]".encode(), self._node),
            self._exchange,
            BATCH_KEY,
            deadline=deadline,
            mandatory=False,
            confirm=False,
            needs=self._needs,
        )

        def done(ticket: Ticket) -> None:
            with self._lock:
                self._under_way -= 1
            if ticket.error is None:
                self.sent += len(batch)
            else:
                self._drop(len(batch))

        ticket.on_done = done
        self._publisher().send(ticket)

    def _drop(self, count: int) -> None:
        if not self.dropped:
            logger.warning("events are dropped: the broker does not take them fast enough", extra=event("dropped"))
        self.dropped += count
