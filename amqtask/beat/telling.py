"""Telling: events of beat, for those who watch. Off unless `events.enabled`.

`beat-tick` and `beat-refused` have `entry`, `uuid`, `name` (the task), `due` (ISO 8601) and `late` in seconds;
`beat-leads` has `epoch` and `entries`.
"""

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from amqtask.beat.ticker import Tick
from amqtask.clock import Clock
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError
from amqtask.events.emitter import Emitter
from amqtask.session import NEVER


class Telling:
    """Makes events, where there is an emitter, and is its clock. A participant of beat's session, and of its thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.emitter: Emitter | None = None

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call back after so many seconds."""
        heapq.heappush(self._calls, (self._clock.monotonic() + seconds, next(self._serial), call))

    def tick(self, tick: Tick, late: float) -> None:
        """The broker has a tick."""
        self._tell("beat-tick", tick, late=late)

    def refused(self, tick: Tick, error: Exception) -> None:
        """The broker has not taken a tick."""
        self._tell("beat-refused", tick, error=str(error))

    def leads(self, epoch: int, entries: int) -> None:
        """This beat leads."""
        if self.emitter is not None:
            self.emitter.emit("beat-leads", {"epoch": epoch, "entries": entries})

    def flush(self) -> None:
        """Send what waits."""
        if self.emitter is not None:
            self.emitter.flush()

    def _tell(self, kind: str, tick: Tick, **fields: Any) -> None:
        if self.emitter is not None:
            about = {"entry": tick.entry.name, "uuid": tick.id, "name": tick.entry.task, "due": tick.due.isoformat()}
            self.emitter.emit(kind, {**about, **fields})

    # The session's calls

    def opened(self, connection: Connection) -> None:
        """Nothing of its own to open."""

    def lost(self, error: BrokerError) -> None:
        """The publisher that events go through has a connection of its own."""

    def turn(self, now: float) -> float:
        while self._calls and self._calls[0][0] <= now:
            heapq.heappop(self._calls)[2]()
        return self._calls[0][0] if self._calls else NEVER
