"""Agenda: the entries that hold, planned. Built anew for each term, and arranged again when somebody edits."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo

from amqtask.beat.book import Book, Kept, merged, resume
from amqtask.beat.ticker import Ticker
from amqtask.core.entry import EntryState, ScheduleEntry
from amqtask.errors import AmqtaskError
from amqtask.log import event, get_logger

logger = get_logger("beat")

FORGET_AFTER = timedelta(days=30)
"""How long the state of an entry is kept that is defined nowhere: another version of the app may bring it back."""


class Agenda:
    """A ticker and what it was filled with. One thread at a time."""

    def __init__(
        self, defined: Mapping[str, ScheduleEntry], *, zone: tzinfo, grace: timedelta, max_step: timedelta
    ) -> None:
        self._defined = defined
        self._entries: dict[str, ScheduleEntry] = {}
        self._plans: dict[str, str] = {}
        self.ticker = Ticker(zone=zone, chance=random.random, grace=grace, max_step=max_step)

    def __len__(self) -> int:
        return len(self._entries)

    def kept(self, name: str, state: EntryState) -> Kept:
        """An entry's state as the store keeps it."""
        return Kept(state=state, plan=self._plans[name])

    def fill(self, book: Book, now: datetime) -> dict[str, Kept | None]:
        """Plan all; the states that have changed by that, None for those that nobody needs any more.

        Ten thousand entries that are far away take seconds.
        """
        changed: dict[str, Kept | None] = {}
        for name, entry in self._wanted(book).items():
            self._put(entry, book.states.get(name), now, changed)
        for name, kept in book.states.items():
            seen = max(kept.state.since, kept.state.last_run or kept.state.since)
            if name not in self._entries and now - seen > FORGET_AFTER:
                changed[name] = None
        return changed

    def change(self, book: Book, now: datetime) -> tuple[dict[str, Kept | None], set[str]]:
        """Plan what is other than before; the states that have changed by that, and the names of those entries."""
        # What is known here is newer than what the store said.
        states = {**book.states, **{entry.name: self.kept(entry.name, state) for entry, state in self.ticker.entries()}}
        wanted = self._wanted(book)
        changed: dict[str, Kept | None] = {}
        touched = {name for name in self._entries if name not in wanted}
        for name in touched:
            self.ticker.remove(name)
            del self._entries[name], self._plans[name]
        for name, entry in wanted.items():
            if self._entries.get(name) != entry and self._put(entry, states.get(name), now, changed):
                touched.add(name)
        return changed, touched

    def _wanted(self, book: Book) -> dict[str, ScheduleEntry]:
        wanted, problems = merged(self._defined, book.edits)
        for name, problem in problems.items():
            logger.error("an edit of entry %r is left out: %s", name, problem, extra=event("beat-bad-edit", entry=name))
        return wanted

    def _put(self, entry: ScheduleEntry, known: Kept | None, now: datetime, changed: dict[str, Kept | None]) -> bool:
        kept = resume(entry, known, now)
        try:
            state = self.ticker.put(entry, kept.state, now)
        except AmqtaskError as error:
            logger.error("entry %r is left out: %s", entry.name, error, extra=event("beat-bad-entry", entry=entry.name))
            return False
        self._entries[entry.name], self._plans[entry.name] = entry, kept.plan
        planned = Kept(state=state, plan=kept.plan)
        if planned != known:
            changed[entry.name] = planned
        return True
