"""Book: what beat remembers of its entries, and the run-time edits on top of what configuration and code define.

An edit is an overlay, a mapping with some keys of an entry (`ScheduleEntry.to_dict`): it beats what is defined under
the same name, or, with a task and a schedule, stands for itself. The key `removed` hides an entry.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from amqtask.core.entry import EntryState, ScheduleEntry, entry_from_dict
from amqtask.errors import InvalidSchedule

VERSION = 1
"""Of the form in which states and edits are written; a store that holds a later one is not touched."""

REMOVED = "removed"

Overlay: TypeAlias = Mapping[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An entry's state and which plan (schedule, zone, enabled) it belongs to: under another plan it begins anew."""

    state: EntryState
    plan: str

    def to_json(self) -> list[object]:
        """A short list, because a store may hold ten thousand: instants as microseconds since the epoch."""
        state = self.state
        return [_number(state.since), _number(state.last_run), _number(state.next_run), state.count, self.plan]

    @classmethod
    def from_json(cls, form: object) -> "Kept":
        """What `to_json` wrote. Raises `InvalidSchedule`."""
        match form:
            case [int() as since, int() | None as last_run, int() | None as next_run, int() as count, str() as plan]:
                begin = _instant(since)
                assert begin is not None, "a number is an instant"
                state = EntryState(since=begin, last_run=_instant(last_run), next_run=_instant(next_run), count=count)
                return cls(state=state, plan=plan)
        raise InvalidSchedule(f"this is no state of an entry: {form!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All states and overlays, by entry."""

    states: Mapping[str, Kept] = field(default_factory=dict)
    edits: Mapping[str, Overlay] = field(default_factory=dict)


def plan_of(entry: ScheduleEntry) -> str:
    """A short digest of what decides when an entry is due."""
    form = json.dumps([entry.schedule.to_dict(), entry.timezone, entry.enabled], sort_keys=True)
    return hashlib.sha256(form.encode()).hexdigest()[:12]


def resume(entry: ScheduleEntry, kept: Kept | None, now: datetime) -> Kept:
    """The state with which an entry goes on: its own, or one that begins now for a new or another plan.

    What ran is remembered in any case.
    """
    plan = plan_of(entry)
    if kept is None:
        return Kept(state=EntryState(since=now), plan=plan)
    if kept.plan != plan:
        return Kept(state=replace(kept.state, since=now, next_run=None), plan=plan)
    return kept


def patched(overlay: Overlay | None, patch: Overlay | None) -> dict[str, object] | None:
    """An overlay after an edit; None, the edit that takes all others back, leaves none."""
    return None if patch is None else {**(overlay or {}), **patch}


def merged(
    defined: Mapping[str, ScheduleEntry], edits: Mapping[str, Overlay]
) -> tuple[dict[str, ScheduleEntry], dict[str, str]]:
    """The entries that hold, and by name what is wrong with overlays that do not fit (any more)."""
    entries = dict(defined)
    problems: dict[str, str] = {}
    for name, overlay in edits.items():
        if overlay.get(REMOVED):
            entries.pop(name, None)
            continue
        base = defined[name].to_dict() if name in defined else {}
        form = {**base, **{key: value for key, value in overlay.items() if key != REMOVED}, "name": name}
        try:
            entries[name] = entry_from_dict(form)
        except InvalidSchedule as error:
            problems[name] = str(error)
    return entries, problems


def _number(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


def _instant(number: int | None) -> datetime | None:
    return None if number is None else _EPOCH + number * _MICROSECOND
