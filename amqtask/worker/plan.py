"""The plan of a node: what its processes need to know, in plain values that travel over a pipe as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for; None leaves it to the configuration."""

    app: str
    config: str | None = None
    overrides: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strict: bool = False
    pool: str | None = None
    concurrency: int | None = None
    processes: int | None = None
    prefetch: str | None = None
    name: str | None = None
    log_level: str | None = None
    log_format: str | None = None
    create_missing_queues: bool = False
    events: bool | None = None
    include: tuple[str, ...] = ()
    max_tasks_per_child: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    working_folder: str = "."
    patch: str = ""
    """gevent or eventlet: the process is patched before anything else is imported."""

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "Order":
        """From what `to_json` gave."""
        values = {
            f.name: tuple(data[f.name]) if isinstance(data[f.name], list) else data[f.name]  # type: ignore[arg-type]
            for f in fields(cls)
            if f.name in data
        }
        return cls(**values)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the supervisor learns from the first process that imported the app: no pydantic, no YAML, no user code in
    it.

    Times are seconds, sizes bytes. `slots` is how many executions one process runs at a time.
    """

    app_name: str
    node: str
    pool: str
    processes: int
    slots: int
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    broker: str
    driver: str
    embedded: str | None
    """The URL of the embedded broker, where it is one."""
    sample: str
    """A task's name and arguments, to try `amqtask call` with."""
    prefetch: Mapping[str, int]
    """By queue, where it is a number; the others are governed by the run times of their tasks."""
    weights: tuple[int, ...]
    strict: bool
    shutdown_timeout: float
    start_timeout: float
    restart_initial: float
    restart_max: float
    restart_budget: int
    restart_window: float
    log_level: str
    log_format: str
    max_memory: int | None = None
    max_tasks: int | None = None
    warnings: tuple[str, ...] = ()
    autoscale: tuple[int, int] | None = None
    agent: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What the node's agent must know: a `Briefing` as JSON. It holds the broker's password."""

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "Plan":
        """From what `to_json` gave."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return asdict(self)
