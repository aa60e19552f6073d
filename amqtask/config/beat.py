"""The section `beat`: the periodic tasks, and how beat runs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, JsonValue

from amqtask.config.section import SECRET, Section
from amqtask.config.values import Byte, Duration, Positive, Size, parse_duration
from amqtask.core.entry import CatchUp, ScheduleEntry
from amqtask.core.schedule import Schedule, as_schedule
from amqtask.core.wallclock import zone_named
from amqtask.errors import ExtraMissing


def parse_schedule(value: object) -> Schedule:
    """A schedule as people write it: what `as_schedule` takes, and durations with units (`30s`, `1h30m`).

    Raises:
        InvalidSchedule: it is none.
    """
    seconds = _seconds(value)
    if seconds is not None:
        return as_schedule(seconds)
    if isinstance(value, Mapping) and (every := _seconds(value.get("every"))) is not None:
        return as_schedule({**value, "every": every})
    return as_schedule(value)


def check_schedule(schedule: Schedule) -> None:
    """Ask a schedule for its next time, which finds what its own checks leave to the libraries of calendars.

    Raises:
        InvalidSchedule: it has no answer.
        ExtraMissing: its library is not installed.
    """
    now = datetime.now(UTC)
    schedule.anchored(now).next_after(now, UTC)


def _seconds(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_duration(value)
    except ValueError:
        return None


def _schedule(value: JsonValue) -> JsonValue:
    try:
        check_schedule(parse_schedule(value))
    except ExtraMissing as error:
        raise ValueError(str(error)) from None
    return value


def _zone(name: str) -> str:
    zone_named(name)
    return name


ScheduleValue: TypeAlias = Annotated[JsonValue, AfterValidator(_schedule)]


class EntryOptions(Section):
    """Options of the calls, as those of `apply_async`."""

    queue: str | None = Field(default=None, description="Straight to this queue.")
    exchange: str | None = Field(default=None, description="To this exchange.")
    routing_key: str | None = Field(default=None, description="With this routing key.")
    priority: Byte | None = Field(default=None, description="The messages' priority.")
    countdown: Duration | None = Field(default=None, description="Run so long after the tick.")
    headers: dict[str, JsonValue] | None = Field(default=None, description="Further headers.")
    serializer: str | None = Field(default=None, description="How arguments are encoded.")
    compression: str | None = Field(default=None, description="How bodies are compressed.")
    time_limit: Duration | None = Field(default=None, description="The hard time limit.")
    soft_time_limit: Duration | None = Field(default=None, description="The soft time limit.")
    ignore_result: bool | None = Field(default=None, description="Results are not kept.")
    shadow: str | None = Field(default=None, description="The name to show.")
    persistent: bool | None = Field(default=None, description="Messages survive a restart of the broker.")
    mandatory: bool | None = Field(default=None, description="A tick that no queue takes is tried again.")


class EntryConfig(Section):
    """One periodic task."""

    task: Annotated[str, Field(min_length=1)] = Field(description="The task's name.")
    schedule: ScheduleValue = Field(
        description="Seconds or a duration, a cron line, a recurrence rule (FREQ=…), or a mapping: every, crontab,"
        " solar, at or rrule."
    )
    args: tuple[JsonValue, ...] = Field(default=(), description="Positional arguments.")
    kwargs: dict[str, JsonValue] = Field(default={}, description="Keyword arguments.")
    options: EntryOptions = Field(default=EntryOptions(), description="Options of the calls.")
    enabled: bool = Field(default=True, description="false: it pauses.")
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        default=None, description="The zone of its wall-clock times; the app's by default."
    )
    catch_up: Literal["none", "last", "all"] = Field(
        default="last", description="What is sent of the ticks that were due while no beat ran."
    )
    catch_up_limit: Positive = Field(default=100, description="all: at the most so many, the newest.")
    jitter: Duration = Field(default=0.0, description="By how much a tick may be late, by chance.")
    expires: Annotated[Duration, Field(gt=0)] | None = Field(
        default=None, description="How long after it was sent a tick is worth running."
    )

    def entry(self, name: str) -> ScheduleEntry:
        """The entry of this name."""
        return ScheduleEntry(
            name=name,
            task=self.task,
            schedule=parse_schedule(self.schedule),
            args=self.args,
            kwargs=self.kwargs,
            options=self.options.model_dump(exclude_none=True),
            enabled=self.enabled,
            timezone=self.timezone,
            catch_up=CatchUp(self.catch_up),
            catch_up_limit=self.catch_up_limit,
            jitter=self.jitter,
            expires=self.expires,
        )


class BeatStoreConfig(Section):
    """Where beat keeps what ran, and the edits that were made at run time."""

    kind: Literal["rabbitmq", "file", "redis", "sql"] = Field(
        default="rabbitmq", description="rabbitmq: a stream; file, redis and sql need a url."
    )
    url: Annotated[str, SECRET] | None = Field(
        default=None, repr=False, description="file: a path; redis, sql: the URL of the server."
    )
    size: Size = Field(
        default=4 * 2**20,
        ge=64 * 1024,
        description="rabbitmq: how large the stream may grow; 4 MiB is for 8,000 entries.",
    )


class BeatConfig(Section):
    """The scheduler of periodic tasks."""

    name: str | None = Field(
        default=None, description="Which beats belong together: those of this name on one virtual host; the app's name."
    )
    store: BeatStoreConfig = Field(default=BeatStoreConfig(), description="Where its state is kept.")
    heartbeat: Annotated[Duration, Field(ge=1)] = Field(
        default=1.0, description="Whole seconds; a leader that is silent for two to three of them is replaced."
    )
    grace: Duration = Field(default=10.0, description="A tick that is later than this was missed; catch_up decides.")
    max_step: Duration = Field(
        default=86400.0, description="A clock that goes back by more was wrong before, and all is planned anew."
    )
    schedule: dict[str, EntryConfig] = Field(default={}, description="The periodic tasks, by name.")

    def entries(self) -> dict[str, ScheduleEntry]:
        """The entries by name."""
        return {name: given.entry(name) for name, given in self.schedule.items()}
