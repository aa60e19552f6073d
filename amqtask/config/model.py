"""Every setting, once. Durations are seconds as floats, sizes bytes.

The descriptions are the JSON Schema's and `amqtask config show`'s.
"""

from typing import Annotated, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, PositiveFloat, field_validator, model_validator

from amqtask.config.beat import BeatConfig
from amqtask.config.broker import BrokerConfig
from amqtask.config.objects import BindingConfig, ExchangeConfig, QueueConfig, QueueSettings, RouteConfig
from amqtask.config.section import SECRET, Section, wrong
from amqtask.config.uses import TasksUses
from amqtask.config.values import Duration, NotNegative, Positive, Rate, Size
from amqtask.core.finding import nearest

Pool: TypeAlias = Literal["processes", "prefork", "threads", "asyncio", "gevent", "eventlet", "solo"]

SerializerName: TypeAlias = Literal["json", "msgpack", "yaml", "pickle", "raw"]
RateScope: TypeAlias = Literal["node", "cluster"]
Compression: TypeAlias = Literal["gzip", "zlib", "bz2", "bzip2", "lzma", "xz", "zstd"]


def _content_name(name: str) -> str:
    known = get_args(SerializerName)
    if name not in known and "/" not in name:
        raise ValueError(f"{name!r} is no serializer ({nearest(name, known)}) and no content type")
    return name


ContentName: TypeAlias = Annotated[str, AfterValidator(_content_name)]


class DefaultExchange(Section):
    """What is true of exchanges that do not say otherwise."""

    type: str = Field(default="topic", description="Their type.")


class DefaultsConfig(Section):
    """What is true of queues and exchanges that do not say otherwise."""

    queue: QueueSettings = Field(
        default=QueueSettings(),
        description="Of queues; a setting that a queue's type does not know is left out for that queue.",
    )
    exchange: DefaultExchange = Field(default=DefaultExchange(), description="Of exchanges.")


class PublishConfig(Section):
    """How messages are published."""

    confirm: bool = Field(default=True, description="Return when the broker has confirmed the message.")
    persistent: bool = Field(default=True, description="Messages survive a restart of the broker.")
    mandatory: bool = Field(default=True, description="A message that no queue takes is an error.")
    timeout: Duration = Field(
        default=10.0, description="For all of it: connecting, a broker that blocks, and the confirm."
    )
    window: Positive = Field(default=1000, description="The most messages that wait for their confirm.")
    max_message_size: Size = Field(default=16 * 1024**2, description="The largest body; RabbitMQ 4 takes 16 MiB.")
    serializer: SerializerName = Field(default="json", description="How arguments are encoded.")
    compression: Compression | None = Field(default=None, description="How bodies are compressed.")


class ContentConfig(Section):
    """Which messages a worker decodes."""

    accept: tuple[ContentName, ...] = Field(
        default=("json",), description="Serializers that are decoded; all others are refused."
    )
    max_decompressed_size: Size = Field(default=64 * 1024**2, description="The largest body after decompression.")


class RestartConfig(Section):
    """Back-off and budget for replacing worker processes that died."""

    initial: Duration = Field(default=0.5, description="The first wait.")
    max: Duration = Field(default=30.0, description="The longest wait.")
    budget: Positive = Field(default=20, description="The most restarts within the window; then the worker gives up.")
    window: Duration = Field(default=60.0, description="The window of the budget.")


class AutoscaleConfig(Section):
    """The number of processes follows the load."""

    min: Positive = Field(description="The fewest.")
    max: Positive = Field(description="The most.")

    @model_validator(mode="after")
    def _ordered(self) -> "AutoscaleConfig":
        if self.min > self.max:
            raise wrong("min", "min is more than max")
        return self


class WorkerConfig(Section):
    """The worker: what it consumes and how it runs tasks."""

    queues: tuple[str, ...] = Field(
        default=(), description="The queues to consume; -Q overrides; all work queues where empty."
    )
    pool: Pool = Field(default="processes", description="How tasks run at the same time.")
    concurrency: Positive | None = Field(default=None, description="How many at a time; the number of CPUs by default.")
    processes: Positive | None = Field(default=None, description="Processes that share the concurrency of other pools.")
    prefetch: Literal["auto"] | Positive | dict[str, Literal["auto"] | Positive] = Field(
        default="auto",
        description="Unacknowledged messages for each consumer, or that by queue; auto goes by the tasks' run times.",
    )
    prefetch_multiplier: PositiveFloat = Field(
        default=4, description="auto: so many for each task that runs at a time."
    )
    acks_late: bool = Field(default=True, description="Acknowledge when a task is done, not when it starts.")
    ack_batch: Positive = Field(default=50, description="At the most so many acknowledgements are sent as one.")
    ack_delay: Duration = Field(default=0.05, description="The longest wait for acknowledgements to send with others.")
    shutdown_timeout: Duration = Field(default=25.0, description="How long running tasks may take after SIGTERM.")
    time_limit: Duration | None = Field(default=None, description="After so long the task's process is killed.")
    soft_time_limit: Duration | None = Field(
        default=None, description="After so long the task gets SoftTimeLimitExceeded."
    )
    max_tasks_per_child: Positive | None = Field(default=None, description="A process is replaced after so many tasks.")
    max_memory_per_child: Size | None = Field(default=None, description="A process that uses more is replaced.")
    hand_back_after: Duration = Field(
        default=0.5, description="Messages that wait so long while no slot becomes free go back for other processes."
    )
    consumer_timeout: Duration = Field(
        default=1800.0, description="The broker's limit for acknowledging; a task that nears it is warned about."
    )
    max_crashes: NotNegative = Field(default=3, description="A task whose process died so often is dead-lettered.")
    create_missing_queues: bool = Field(default=False, description="Declare queues of -Q that the configuration lacks.")
    uvloop: bool = Field(default=False, description="asyncio: use uvloop.")
    restart: RestartConfig = Field(default=RestartConfig(), description="Replacing processes that died.")
    autoscale: AutoscaleConfig | None = Field(default=None, description="Bounds for the number of processes.")

    @model_validator(mode="after")
    def _possible(self) -> "WorkerConfig":
        shared = self.pool in ("threads", "asyncio", "gevent", "eventlet")
        if self.time_limit is not None and shared:
            raise wrong(
                "time_limit",
                f"it kills a task's process, which a pool of {self.pool} shares; "
                "write soft_time_limit, or pool: processes",
            )
        if self.time_limit is not None and (self.soft_time_limit or 0) >= self.time_limit:
            raise wrong("soft_time_limit", "soft_time_limit is not shorter than time_limit")
        if self.uvloop and self.pool != "asyncio":
            raise wrong("uvloop", f"uvloop needs pool: asyncio, not {self.pool}")
        return self


class TaskSettings(Section):
    """Settings that can be given to tasks by name; what is not written is left as the task has it."""

    serializer: SerializerName | None = Field(
        default=None, description="How arguments are encoded; publish.serializer otherwise."
    )
    max_retries: NotNegative | None = Field(
        default=None, description="How often retry() tries again; null is for ever."
    )
    default_retry_delay: Duration | None = Field(default=None, description="The wait before a retry that names none.")
    ignore_result: bool | None = Field(default=None, description="Results are not kept.")
    track_started: bool | None = Field(default=None, description="The state STARTED is kept.")
    rate_limit: Rate | None = Field(default=None, description="The most starts: 10/s, 100/m.")
    rate_limit_scope: RateScope | None = Field(
        default=None, description="Whether the rate limit is each node's or the whole cluster's."
    )
    acks_late: bool | None = Field(default=None, description="Acknowledge when the task is done.")
    time_limit: Duration | None = Field(default=None, description="Its hard time limit.")
    soft_time_limit: Duration | None = Field(default=None, description="Its soft time limit.")


class TasksConfig(TasksUses, Section):
    """Defaults of tasks, and settings of tasks by name."""

    default_queue: str | None = Field(default=None, description="Where tasks go that no route takes.")
    default_exchange: str | None = Field(
        default=None, description="The exchange for calls that give a routing key only."
    )
    serializer: SerializerName | None = Field(
        default=None, description="How arguments are encoded; publish.serializer otherwise."
    )
    max_retries: NotNegative | None = Field(default=3, description="How often retry() tries again; null is for ever.")
    default_retry_delay: Duration = Field(default=180.0, description="The wait before a retry that names none.")
    ignore_result: bool = Field(default=False, description="Results are not kept.")
    track_started: bool = Field(default=False, description="The state STARTED is kept.")
    rate_limit: Rate | None = Field(default=None, description="The most starts of each task: 10/s, 100/m.")
    rate_limit_scope: RateScope = Field(
        default="node", description="Whether rate limits are each node's or the whole cluster's."
    )
    annotations: dict[str, TaskSettings] = Field(
        default={}, description="Settings by task name or pattern; a later entry overrides an earlier one."
    )


class ResultsConfig(Section):
    """Where results are kept."""

    backend: str = Field(default="rpc", description="rpc, redis, sql, null, …")
    url: Annotated[str, SECRET] | None = Field(default=None, repr=False, description="The store's URL.")
    expires: Duration | None = Field(default=86400.0, description="How long results are kept; null is for ever.")
    serializer: SerializerName = Field(default="json", description="How results are encoded.")
    compression: Compression | None = Field(default=None, description="How results of over 1 KiB are compressed.")
    prefix: str = Field(default="", description="What the store's keys or tables begin with.")
    retry_for: Duration = Field(default=60.0, description="How long a result is tried to be stored.")
    timeout: Duration = Field(default=10.0, description="How long a caller waits for a store that does not answer.")
    poll_interval: Duration = Field(default=0.5, description="The longest pause between looks at a store without push.")
    persistent: bool = Field(default=False, description="rpc: results survive a restart of the broker.")
    keep: Size = Field(default=64 * 1024**2, description="rpc: how much of unread results is kept in memory.")
    reply_expires: Duration = Field(default=1800.0, description="rpc: how long replies wait for a client to come back.")
    options: dict[str, object] = Field(default={}, description="Options of the store's client.")


class ControlConfig(Section):
    """Remote control over a broadcast exchange."""

    enabled: bool = Field(default=True, description="Nodes listen.")
    exchange: str = Field(default="aqt.control", description="The name of the exchange.")
    reply_timeout: Duration = Field(default=1.0, description="How long a caller waits for the nodes' answers.")
    secret: Annotated[str, SECRET] | None = Field(
        default=None, repr=False, description="Signs commands; nodes with a secret obey signed commands only."
    )


class EventsConfig(Section):
    """Events: what tasks and workers tell those who watch."""

    enabled: bool = Field(default=False, description="Workers send events of tasks.")
    exchange: str = Field(default="aqt.events", description="The name of the exchange.")
    heartbeat: Duration = Field(default=2.0, description="The time between signs of life of a node.")
    sent: bool = Field(default=False, description="Whoever sends a task tells of it: task-sent.")


class WorkflowsConfig(Section):
    """Workflows: chains, groups and chords."""

    record: bool = Field(
        default=True, description="Record what is sent and its steps' states, for `amqtask workflow show`."
    )
    inline: Size = Field(
        default=16 * 2**10,
        description="The most of a chain that a message carries; the rest waits in RabbitMQ for its turn.",
    )


class LogConfig(Section):
    """What is logged, and how it looks."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="The least level."
    )
    format: Literal["text", "json"] = Field(default="text", description="Lines to read, or a JSON object a line.")

    @field_validator("level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


# What `interop: celery` sets where the file says nothing else (`kombu/pidbox.py`, `celery/events/event.py`).
CELERY_NAMES = {"control": "celery.pidbox", "events": "celeryev"}


class Config(Section):
    """The configuration of an app."""

    name: str | None = Field(default=None, description="The app's name; what App(…) was given by default.")
    include: tuple[str, ...] = Field(
        default=(), description="Files or patterns to merge into this one, relative to it."
    )
    imports: tuple[str, ...] = Field(default=(), description="Modules that define tasks.")
    timezone: str = Field(default="UTC", description="The time zone of schedules.")
    interop: Literal["celery"] | None = Field(
        default=None, description="celery: use Celery's names for control and events."
    )
    broker: BrokerConfig = Field(default=BrokerConfig(), description="The broker.")
    exchanges: dict[str, ExchangeConfig] = Field(default={}, description="Exchanges by name.")
    queues: dict[str, QueueConfig] = Field(default={}, description="Queues by name.")
    bindings: tuple[BindingConfig, ...] = Field(
        default=(), description='Bindings: "exchange[key] -> queue", or mappings.'
    )
    routes: tuple[RouteConfig, ...] = Field(default=(), description="Where tasks go; the first that matches is taken.")
    defaults: DefaultsConfig = Field(default=DefaultsConfig(), description="Defaults of queues and exchanges.")
    publish: PublishConfig = Field(default=PublishConfig(), description="How messages are published.")
    content: ContentConfig = Field(default=ContentConfig(), description="Which messages are decoded.")
    worker: WorkerConfig = Field(default=WorkerConfig(), description="The worker.")
    tasks: TasksConfig = Field(default=TasksConfig(), description="Tasks.")
    results: ResultsConfig = Field(default=ResultsConfig(), description="Results.")
    control: ControlConfig = Field(default=ControlConfig(), description="Remote control.")
    events: EventsConfig = Field(default=EventsConfig(), description="Events.")
    workflows: WorkflowsConfig = Field(default=WorkflowsConfig(), description="Chains, groups and chords.")
    beat: BeatConfig = Field(default=BeatConfig(), description="Periodic tasks.")
    log: LogConfig = Field(default=LogConfig(), description="Logging.")

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, value: object) -> object:
        """`broker:` with nothing after it means an empty section, as in most YAML files of others."""
        if not isinstance(value, dict):
            return value
        filled = {key: section for key, section in value.items() if section is not None or key == "interop"}
        if filled.get("interop") == "celery":
            for name, exchange in CELERY_NAMES.items():
                section = filled.get(name, {})
                if isinstance(section, dict):
                    filled[name] = {"exchange": exchange, **section}
        return filled

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no time zone {value!r}; write a name such as Europe/Berlin") from None
        return value
