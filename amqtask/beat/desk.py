"""Desk: looks at the entries of an app's beat and edits them while it runs, from any machine."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import Any, cast

from amqtask.app import App
from amqtask.beat.book import REMOVED, Book, merged, resume
from amqtask.beat.leader import leader_queue, nudge
from amqtask.beat.program import defined_entries, group_of, store_of
from amqtask.beat.ticker import Ticker
from amqtask.config.beat import check_schedule
from amqtask.core.entry import EntryState, ScheduleEntry, entry_from_dict
from amqtask.core.topology import DEFAULT_EXCHANGE
from amqtask.core.wallclock import zone_named
from amqtask.errors import AmqtaskError, InvalidSchedule
from amqtask.task import CallOptions
from amqtask.ticket import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry as it holds now. `origin` says where it is from: defined, edited, added; `zone` is the entry's."""

    entry: ScheduleEntry
    state: EntryState
    origin: str
    zone: tzinfo


class Desk:
    """The entries of an app's beat. A context manager, for the sake of its connections."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._store = store_of(app)
        self._defined = defined_entries(app)
        self._zone = zone_named(app.config.timezone)

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *exception: object) -> None:
        self._store.close()

    def rows(self) -> tuple[list[Row], dict[str, str]]:
        """All entries by name, and what is wrong with edits that are left out."""
        book = self._store.load()
        entries, problems = merged(self._defined, book.edits)
        now = datetime.fromtimestamp(self._app.clock.time(), UTC)
        rows = []
        for name, entry in sorted(entries.items()):
            try:
                rows.append(self._row(entry, book, now))
            except AmqtaskError as error:
                problems[name] = str(error)
        return rows, problems

    def row(self, name: str) -> Row:
        """One entry. Raises InvalidSchedule where there is none of this name."""
        rows, problems = self.rows()
        found = next((row for row in rows if row.entry.name == name), None)
        if found is not None:
            return found
        if name in problems:
            raise InvalidSchedule(problems[name])
        near = get_close_matches(name, [row.entry.name for row in rows], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidSchedule(f"there is no periodic task {name!r}{hint}")

    def add(self, name: str, form: Mapping[str, object]) -> Row:
        """A new entry. Raises InvalidSchedule where there is one of this name, or it would be wrong."""
        rows, _ = self.rows()
        if any(row.entry.name == name for row in rows):
            raise InvalidSchedule(f"there is a periodic task {name!r} already; `beat edit` changes it")
        self._check(name, form)
        # What is left of an entry of this name that was removed or does not fit goes first.
        self._edit(name, None)
        self._edit(name, form)
        return self.row(name)

    def edit(self, name: str, patch: Mapping[str, object]) -> Row:
        """Change some keys of an entry. Raises InvalidSchedule where it would be wrong."""
        row = self.row(name)
        self._check(name, {**row.entry.to_dict(), **patch})
        self._edit(name, patch)
        return self.row(name)

    def remove(self, name: str) -> None:
        """Forget an entry that was added; hide one that is defined elsewhere."""
        row = self.row(name)
        self._edit(name, None)
        if row.origin != "added":
            self._edit(name, {REMOVED: True})

    def restore(self, name: str) -> Row:
        """Take all edits of a defined entry back. Raises InvalidSchedule where it is defined nowhere."""
        if name not in self._defined:
            raise InvalidSchedule(f"no configuration and no code defines a periodic task {name!r}")
        self._edit(name, None)
        return self.row(name)

    def run_now(self, name: str) -> str:
        """Send its call once, at once, beside its schedule; the task's id."""
        entry = self.row(name).entry
        call: dict[str, Any] = dict(entry.options)
        if entry.expires is not None:
            call["expires"] = entry.expires
        return self._app.send_task(entry.task, entry.args, entry.kwargs, **cast(CallOptions, call)).id

    def _row(self, entry: ScheduleEntry, book: Book, now: datetime) -> Row:
        edited = entry.name in book.edits
        origin = ("edited" if edited else "defined") if entry.name in self._defined else "added"
        kept = resume(entry, book.states.get(entry.name), now)
        state = Ticker(zone=self._zone, chance=random.random).put(entry, kept.state, now)
        return Row(entry=entry, state=state, origin=origin, zone=entry.zone(self._zone))

    @staticmethod
    def _check(name: str, form: Mapping[str, object]) -> None:
        check_schedule(entry_from_dict({**form, "name": name}).schedule)

    def _edit(self, name: str, patch: Mapping[str, object] | None) -> None:
        self._store.edit(name, patch)
        deadline = self._app.clock.monotonic() + self._app.config.publish.timeout
        queue = leader_queue(group_of(self._app)).name
        # Where no beat has ever run there is no such queue, and nobody to tell.
        self._app.publisher.publish(Ticket(nudge(), DEFAULT_EXCHANGE, queue, deadline=deadline, mandatory=False))
