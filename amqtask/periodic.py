"""Periodic: the entries of beat that code defines, on an app or at a task."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from amqtask.core.entry import CatchUp, ScheduleEntry
from amqtask.core.schedule import as_schedule
from amqtask.core.signature import Signature
from amqtask.errors import AlreadyRegistered

if TYPE_CHECKING:
    from amqtask.task import AnyTask


class EntryKeys(TypedDict, total=False):
    """What can be said of a periodic task beside its schedule; `amqtask.core.entry.ScheduleEntry` says what it means.

    `jitter` and `expires` are seconds.
    """

    enabled: bool
    timezone: str
    catch_up: str
    catch_up_limit: int
    jitter: float
    expires: float | timedelta


class Periodic:
    """An app's periodic tasks, by name."""

    def __init__(self) -> None:
        self._entries: dict[str, ScheduleEntry] = {}

    def add(self, schedule: object, signature: Signature, name: str | None, keys: EntryKeys) -> ScheduleEntry:
        """One more.

        Raises:
            InvalidSchedule: see `amqtask.core.schedule.as_schedule`.
            AlreadyRegistered: another one has its name.
        """
        entry = make_entry(name or str(signature), schedule, signature, keys)
        there = self._entries.setdefault(entry.name, entry)
        if there != entry:
            raise AlreadyRegistered(f"two periodic tasks are named {entry.name!r}; give each a name=")
        return entry

    def entries(self, tasks: "Iterable[AnyTask]") -> dict[str, ScheduleEntry]:
        """All of them, with those of the tasks that have a schedule themselves, which go by their task's name.

        Raises:
            InvalidSchedule: a task's schedule is wrong.
        """
        found = {}
        for task in tasks:
            if task.options.schedule is not None:
                signature = Signature(task=task.name)
                found[task.name] = make_entry(task.name, task.options.schedule, signature, {})
        return {**found, **self._entries}


def make_entry(name: str, schedule: object, signature: Signature, keys: EntryKeys) -> ScheduleEntry:
    """The entry that sends a signature."""
    given: Mapping[str, Any] = keys
    expires = given.get("expires")
    entry = ScheduleEntry(
        name=name,
        task=signature.task,
        schedule=as_schedule(schedule),
        args=signature.args,
        kwargs=signature.kwargs,
        options={key: value for key, value in signature.options.items() if value is not None},
        expires=expires.total_seconds() if isinstance(expires, timedelta) else expires,
    )
    rest = {key: value for key, value in given.items() if key != "expires"}
    if "catch_up" in rest:
        rest["catch_up"] = CatchUp(rest["catch_up"])
    return replace(entry, **rest)
