"""Entry: what beat sends and when; its state; and the id that makes a tick one tick wherever it was sent from."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from amqtask.core.fields import Fields
from amqtask.core.schedule import Schedule, as_schedule
from amqtask.core.wallclock import zone_named
from amqtask.errors import InvalidSchedule


class CatchUp(enum.StrEnum):
    """What is sent of the ticks that were due while no beat ran."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """One line of the schedule.

    `options` are those of `apply_async`. `timezone` is the zone of the schedule's wall-clock times, the app's where
    it is None. `catch_up_limit` is how many ticks `all` sends, the newest ones. `jitter` is by how many seconds a
    tick may be late, by chance; `expires` how many seconds after it was sent it is worth nothing. Raises
    `InvalidSchedule`.
    """

    name: str
    task: str
    schedule: Schedule
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    enabled: bool = True
    timezone: str | None = None
    catch_up: CatchUp = CatchUp.LAST
    catch_up_limit: int = 100
    jitter: float = 0
    expires: float | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.task:
            raise InvalidSchedule(f"entry {self.name!r}: a name and a task are needed")
        if self.catch_up_limit < 1:
            raise InvalidSchedule(f"entry {self.name!r}: catch_up_limit must be at least 1, not {self.catch_up_limit}")
        if self.jitter < 0:
            raise InvalidSchedule(f"entry {self.name!r}: jitter must not be negative")
        if self.expires is not None and self.expires <= 0:
            raise InvalidSchedule(f"entry {self.name!r}: expires must be more than 0 seconds")
        if self.timezone is not None:
            zone_named(self.timezone)

    def zone(self, default: tzinfo) -> tzinfo:
        return default if self.timezone is None else zone_named(self.timezone)

    def to_dict(self) -> dict[str, object]:
        """Its form for JSON, which `entry_from_dict` reads. What has its default value is left out."""
        written: dict[str, object] = {"name": self.name, "task": self.task, "schedule": self.schedule.to_dict()}
        options: dict[str, tuple[object, object]] = {
            "args": (list(self.args), []),
            "kwargs": (dict(self.kwargs), {}),
            "options": (dict(self.options), {}),
            "enabled": (self.enabled, True),
            "timezone": (self.timezone, None),
            "catch_up": (self.catch_up.value, CatchUp.LAST.value),
            "catch_up_limit": (self.catch_up_limit, 100),
            "jitter": (self.jitter, 0),
            "expires": (self.expires, None),
        }
        return written | {key: value for key, (value, default) in options.items() if value != default}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryState:
    """What is remembered of an entry between two runs of beat. Instants are aware.

    Ticks due at or before `since` are none of its business: that is when the entry was first seen, resumed or given
    another schedule, and where an interval without an origin counts from. `last_run` is when the last tick that was
    sent was due, `next_run` when the next one is; `count` is how many were sent.
    """

    since: datetime
    last_run: datetime | None = None
    next_run: datetime | None = None
    count: int = 0

    def to_dict(self) -> dict[str, object]:
        """Its form for JSON, which `state_from_dict` reads."""
        return {
            "since": self.since.isoformat(),
            "last_run": None if self.last_run is None else self.last_run.isoformat(),
            "next_run": None if self.next_run is None else self.next_run.isoformat(),
            "count": self.count,
        }


def tick_id(name: str, due: datetime) -> str:
    """The message id of the tick of this entry at this instant: the same from whichever beat, whenever it is sent.

    It has the form of a UUID (version 8 of RFC 9562, the one whose bits are one's own), for stores that want one.
    """
    instant = due.astimezone(UTC).isoformat(timespec="microseconds")
    digest = hashlib.sha256(f"{instant} {name}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def entry_from_dict(data: Mapping[str, object]) -> ScheduleEntry:
    """The entry that was written as this mapping; its schedule may also be what `as_schedule` takes.

    Raises `InvalidSchedule`.
    """
    fields = Fields(f"entry {data.get('name', '')!r}", data).only(ScheduleEntry.__dataclass_fields__)
    try:
        catch_up = CatchUp(str(data.get("catch_up", CatchUp.LAST.value)))
    except ValueError as error:
        raise InvalidSchedule(f"{fields.what}: `catch_up` must be one of {', '.join(CatchUp)}") from error
    return ScheduleEntry(
        name=fields.text("name"),
        task=fields.text("task"),
        schedule=as_schedule(data.get("schedule")),
        args=fields.items("args"),
        kwargs=fields.mapping("kwargs"),
        options=fields.mapping("options"),
        enabled=fields.flag("enabled", True),
        timezone=fields.text("timezone") if fields.has("timezone") else None,
        catch_up=catch_up,
        catch_up_limit=fields.whole("catch_up_limit", 100),
        jitter=fields.number("jitter", 0),
        expires=fields.number("expires") if fields.has("expires") else None,
    )


def state_from_dict(data: Mapping[str, object]) -> EntryState:
    """The state that was written as this mapping. Raises `InvalidSchedule`."""
    fields = Fields("state", data).only(EntryState.__dataclass_fields__)
    return EntryState(
        since=fields.instant("since"),
        last_run=fields.instant("last_run") if fields.has("last_run") else None,
        next_run=fields.instant("next_run") if fields.has("next_run") else None,
        count=fields.whole("count", 0),
    )
