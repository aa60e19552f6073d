"""What holds for a task in the end: its own options, the configuration's annotations by name, and the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.core.retry import RetryPolicy
from amqtask.core.settlement import Policy
from amqtask.task import TaskOptions

if TYPE_CHECKING:
    from amqtask.config.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """A task's settings with nothing left open. Limits are seconds."""

    name: str
    serializer: str
    compression: str | None
    acks_late: bool
    ignore_result: bool
    track_started: bool
    time_limit: float | None
    soft_time_limit: float | None
    rate_limit: str | None
    rate_limit_scope: str
    retry: RetryPolicy
    throws: tuple[type[BaseException], ...]
    dead_letter: bool
    on_worker_lost: str
    on_effect_failure: Policy
    confirm: bool
    persistent: bool
    mandatory: bool


def effective(options: TaskOptions, config: "Config") -> Effective:
    """Annotations beat the task's own options, which beat the defaults of the configuration."""
    given = config.tasks.annotated(options.name)
    publish, worker, tasks = config.publish, config.worker, config.tasks

    def first(name: str, *defaults: Any) -> Any:
        for value in (given.get(name), getattr(options, name), *defaults):
            if value is not None:
                return value
        return None

    return Effective(
        name=options.name,
        serializer=first("serializer", tasks.serializer, publish.serializer),
        compression=first("compression", publish.compression),
        acks_late=first("acks_late", worker.acks_late),
        ignore_result=first("ignore_result", tasks.ignore_result),
        track_started=first("track_started", tasks.track_started),
        time_limit=first("time_limit", worker.time_limit),
        soft_time_limit=first("soft_time_limit", worker.soft_time_limit),
        rate_limit=first("rate_limit", tasks.rate_limit),
        rate_limit_scope=first("rate_limit_scope", tasks.rate_limit_scope),
        retry=_retry(options, config, given),
        throws=options.throws,
        dead_letter=options.dead_letter,
        on_worker_lost=options.on_worker_lost,
        on_effect_failure=options.on_effect_failure,
        confirm=first("confirm", publish.confirm),
        persistent=first("persistent", publish.persistent),
        mandatory=first("mandatory", publish.mandatory),
    )


def _retry(options: TaskOptions, config: "Config", given: Mapping[str, object]) -> RetryPolicy:
    max_retries: Any = options.max_retries
    if "max_retries" in given:
        max_retries = given["max_retries"]
    elif max_retries == "config":
        max_retries = config.tasks.max_retries
    delay: Any = given.get("default_retry_delay", options.default_retry_delay)
    return RetryPolicy(
        max_retries=max_retries,
        default_delay=config.tasks.default_retry_delay if delay is None else delay,
        autoretry_for=options.autoretry_for,
        dont_autoretry_for=options.dont_autoretry_for,
        backoff=float(options.retry_backoff),
        backoff_max=options.retry_backoff_max,
        jitter=options.retry_jitter,
    )
