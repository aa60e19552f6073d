"""Service: what a beat does while it leads. A participant of beat's session, woken when the next tick is due.

A tick counts once the broker has confirmed it; then its state is saved. Between the two a beat may die, and the next
one sends the tick again: the same id, another copy, of which workers run one (`core/tick.py`). The other order would
lose it. Each entry has a *lane*: its ticks go one after another, so that what was sent last says what was sent.
"""

import heapq
import itertools
import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from amqtask.beat.agenda import Agenda
from amqtask.beat.book import Book, Kept
from amqtask.beat.keeper import Keeper
from amqtask.beat.outlet import Outlet
from amqtask.beat.telling import Telling
from amqtask.beat.ticker import Missed, Tick
from amqtask.clock import Clock
from amqtask.core.backoff import Backoff
from amqtask.core.entry import CatchUp
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError, ConnectionLost
from amqtask.log import event, get_logger
from amqtask.session import NEVER
from amqtask.ticket import Ticket

logger = get_logger("beat")

LONGEST_SLEEP = 30.0
"""Seconds: the clock that people set is not the one that waits, so it is looked at now and then."""
AT_ONCE = 200
"""Ticks that are sent before the connection is read again: ten thousand due at once must not cost a heartbeat."""
BLOCKED_PAUSE = 0.5
STORE_PATIENCE = 15.0
"""Seconds that a beat which has the lead waits for its store, before it lets another have a try."""


class Post(Protocol):
    """Makes a tick's message and hands it to `send`."""

    def __call__(self, tick: Tick, copy: str, send: Callable[[Ticket], None], /) -> None: ...


@dataclass(slots=True, kw_only=True)
class Counters:
    """What happened to ticks since this beat began to lead."""

    sent: int = 0
    refused: int = 0
    missed: int = 0
    """How often ticks were not sent: for an outage once, and for each that was given up for newer ones."""
    latest: float = 0.0
    """Seconds by which the latest tick was handed to the broker too late, jitter included."""


@dataclass(slots=True, eq=False)
class _Lane:
    """The ticks of an entry that are due and not sent."""

    ticks: deque[Tick] = field(default_factory=deque)
    busy: bool = False
    """The first one waits for its confirm."""
    attempts: int = 0


class Service:
    """Sends the ticks. All methods are called on the session's thread."""

    def __init__(
        self,
        *,
        new_agenda: Callable[[], Agenda],
        clock: Clock,
        outlet: Outlet,
        keeper: Keeper,
        post: Post,
        telling: Telling,
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._new_agenda = new_agenda
        self._clock = clock
        self._outlet = outlet
        self._keeper = keeper
        self._post = post
        self._telling = telling
        self._call_soon = call_soon
        self._backoff = Backoff(initial=1.0, maximum=30.0)
        # A term ends with the connection; what was begun in an earlier one does not count any more.
        self._term = 0
        self._epoch = 0
        self._agenda: Agenda | None = None
        self._store_due = NEVER
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._retries: list[tuple[float, int, _Lane]] = []
        self._serial = itertools.count()
        self._finishing = False
        self.counters = Counters()

    @property
    def leads(self) -> bool:
        """Whether this beat sends ticks."""
        return self._agenda is not None

    @property
    def unfinished(self) -> bool:
        """Whether the fate of a tick is open."""
        return self._outlet.waiting > 0

    def next_due(self) -> datetime | None:
        """When the next tick is due; None where none will be."""
        return None if self._agenda is None else self._agenda.ticker.next_wake()

    def finish(self) -> None:
        """Begin nothing new."""
        self._finishing = True

    # Leadership

    def elected(self, connection: Connection) -> None:
        """The token is here: take the store over, then begin."""
        self._outlet.open(connection)
        term = self._term
        self._store_due = self._clock.monotonic() + STORE_PATIENCE
        logger.info("this beat has the lead", extra=event("beat-elected"))
        self._keeper.take_over(lambda epoch, book: self._prepare(term, epoch, book), lambda: term == self._term)

    def deposed(self) -> None:
        """The connection is gone, and the lead with it."""
        if self._finishing:
            logger.info("this beat gives the lead up", extra=event("beat-ends"))
        elif self.leads:
            logger.warning("this beat has lost the lead", extra=event("beat-deposed"))
        self._term += 1
        self._outlet.close()
        self._agenda = None
        self._store_due = NEVER
        self._lanes.clear()
        self._ready.clear()
        self._retries.clear()

    def fenced(self) -> None:
        """The store says that another one leads: give the connection up, and the token with it."""
        if self.leads:
            raise ConnectionLost("another beat leads")

    def nudged(self) -> None:
        """Somebody edited the entries."""
        term = self._term
        self._keeper.load(lambda book: self._call_soon(lambda: self._reload(term, book)), lambda: term == self._term)

    def _prepare(self, term: int, epoch: int, book: Book) -> None:
        """Plan all entries. On the keeper's thread: the session's must not miss its heartbeats over ten thousand."""
        self._store_due = NEVER
        agenda = self._new_agenda()
        changed = agenda.fill(book, self._now())
        self._call_soon(lambda: self._begin(term, epoch, agenda, changed))

    def _begin(self, term: int, epoch: int, agenda: Agenda, changed: Mapping[str, Kept | None]) -> None:
        if term != self._term:
            return
        self._epoch = epoch
        self._agenda = agenda
        self.counters = Counters()
        if changed:
            self._keeper.save(epoch, changed)
        self._telling.leads(epoch, len(agenda))
        logger.info("beat leads, epoch %d: %d entries", epoch, len(agenda), extra=event("beat-leads", epoch=epoch))

    def _reload(self, term: int, book: Book) -> None:
        if term != self._term or self._agenda is None:
            return
        changed, touched = self._agenda.change(book, self._now())
        for name in touched:
            self._drop_lane(name)
        if changed:
            self._keeper.save(self._epoch, changed)
        logger.info("entries were edited: %d now", len(self._agenda), extra=event("beat-edited"))

    # The session's calls

    def opened(self, connection: Connection) -> None:
        """The leadership opens what it needs."""

    def lost(self, error: BrokerError) -> None:
        """The leadership tells."""

    def turn(self, now: float) -> float:
        if self._finishing:
            return NEVER
        if self._agenda is None:
            if now >= self._store_due:
                raise ConnectionLost("the store of beat's state does not answer; another beat may reach it")
            return self._store_due
        ticker = self._agenda.ticker
        wall = self._now()
        turn = ticker.turn(wall, now)
        if turn.step is not None:
            self._tell_step(turn.step)
        for missed in turn.missed:
            self._tell_missed(missed)
        for tick in turn.ticks:
            self._line_up(tick)
        while self._retries and self._retries[0][0] <= now:
            self._ready.append(heapq.heappop(self._retries)[2])
        if self._ready:
            if self._outlet.blocked is not None:
                return now + BLOCKED_PAUSE
            for _ in range(min(AT_ONCE, len(self._ready))):
                self._send(self._ready.popleft())
            if self._ready:
                return now
        due = self._retries[0][0] if self._retries else NEVER
        wake = ticker.next_wake()
        sleep = LONGEST_SLEEP if wake is None else (wake - self._now()).total_seconds()
        return min(due, self._clock.monotonic() + max(0.0, min(sleep, LONGEST_SLEEP)))

    # Ticks

    def _line_up(self, tick: Tick) -> None:
        lane = self._lanes.setdefault(tick.entry.name, _Lane())
        if lane.ticks and lane.ticks[0].due == tick.due:
            return  # its entry was edited while it was on its way
        lane.ticks.append(tick)
        if len(lane.ticks) == 1:
            self._ready.append(lane)
        elif lane.attempts:
            self._shorten(lane)

    def _shorten(self, lane: _Lane) -> None:
        """What the broker refuses for long piles up; no more of it is kept than would be after an outage."""
        entry = lane.ticks[0].entry
        most = entry.catch_up_limit if entry.catch_up is CatchUp.ALL else 1
        while len(lane.ticks) > most and not lane.busy:
            tick = lane.ticks.popleft()
            self.counters.missed += 1
            logger.warning(
                "%s: the tick of %s was refused and is given up for newer ones",
                entry.name,
                tick.due.isoformat(),
                extra=event("tick-missed", entry=entry.name, tick=tick.id),
            )

    def _send(self, lane: _Lane) -> None:
        if lane.busy or not lane.ticks:
            return
        tick, term = lane.ticks[0], self._term
        lane.busy = True
        handed = False

        def send(ticket: Ticket) -> None:
            nonlocal handed
            handed = True
            late = (self._now() - tick.due).total_seconds()
            self.counters.latest = max(self.counters.latest, late)
            self._outlet.send(ticket, lambda error: self._done(term, lane, tick, late, error))

        try:
            self._post(tick, uuid.uuid4().hex, send)
        except ConnectionLost:
            raise
        except Exception as error:
            if not handed:
                self._done(term, lane, tick, 0.0, error)
                return
            logger.exception("a middleware failed after the tick was sent", extra=event("tick-middleware"))
        if not handed:
            logger.info("%s: a middleware held the tick back", tick.entry.name, extra=event("tick-held-back"))
            self._done(term, lane, tick, 0.0, None)

    def _done(self, term: int, lane: _Lane, tick: Tick, late: float, error: Exception | None) -> None:
        if term != self._term or self._agenda is None:
            return
        lane.busy = False
        if error is not None:
            self._refused(lane, tick, error)
            return
        self.counters.sent += 1
        state = self._agenda.ticker.sent(tick)
        logger.info(
            "tick of %s, due %s: %s[%s]",
            tick.entry.name,
            tick.due.isoformat(),
            tick.entry.task,
            tick.id,
            extra=event("tick", entry=tick.entry.name, tick=tick.id, due=tick.due.isoformat(), late=round(late, 6)),
        )
        self._telling.tick(tick, late)
        if state is not None:
            self._keeper.save(self._epoch, {tick.entry.name: self._agenda.kept(tick.entry.name, state)})
        lane.attempts = 0
        lane.ticks.popleft()
        if lane.ticks:
            self._ready.append(lane)
        elif self._lanes.get(tick.entry.name) is lane:
            del self._lanes[tick.entry.name]

    def _refused(self, lane: _Lane, tick: Tick, error: Exception) -> None:
        lane.attempts += 1
        self.counters.refused += 1
        self._telling.refused(tick, error)
        delay = self._backoff.delay(lane.attempts, random.random())
        logger.error(
            "the tick of %s, due %s, was not taken: %s; trying again in %.1f s",
            tick.entry.name,
            tick.due.isoformat(),
            error,
            delay,
            extra=event("tick-refused", entry=tick.entry.name, tick=tick.id, attempts=lane.attempts),
        )
        heapq.heappush(self._retries, (self._clock.monotonic() + delay, next(self._serial), lane))

    def _drop_lane(self, name: str) -> None:
        """The entry is another now: what waits of the old one is planned anew; what is on its way stays."""
        lane = self._lanes.get(name)
        if lane is None:
            return
        while len(lane.ticks) > (1 if lane.busy else 0):
            lane.ticks.pop()
        lane.attempts = 0
        if not lane.ticks:
            del self._lanes[name]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)

    def _tell_step(self, step: timedelta) -> None:
        seconds = step.total_seconds()
        way = "forward" if seconds > 0 else "back"
        logger.warning("the clock was put %s by %.1f s", way, abs(seconds), extra=event("clock-step", seconds=seconds))

    def _tell_missed(self, missed: Missed) -> None:
        self.counters.missed += 1
        logger.warning(
            "%s: what was due from %s until before %s was missed and is not sent (catch_up: %s)",
            missed.entry.name,
            missed.first.isoformat(),
            missed.until.isoformat(),
            missed.entry.catch_up.value,
            extra=event("ticks-missed", entry=missed.entry.name),
        )
