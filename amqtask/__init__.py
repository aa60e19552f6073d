"""amqtask: tasks over RabbitMQ. Importing it loads no driver, no YAML and no optional package."""

from amqtask.app import App
from amqtask.batch import Batch
from amqtask.canvas import BoundSignature, chain, chord, group, signature
from amqtask.component import Component
from amqtask.context import Context, current_task
from amqtask.core.signature import Signature
from amqtask.errors import (
    AmqtaskError,
    BatchFailed,
    BrokerError,
    ChordError,
    ConfigError,
    Ignore,
    MaxRetriesExceeded,
    PublishError,
    PublishNacked,
    PublishTimeout,
    Reject,
    ResultTimeout,
    Retry,
    SoftTimeLimitExceeded,
    TaskError,
    TaskFailed,
    TaskRevoked,
    TimeLimitExceeded,
    Unroutable,
    Unserializable,
    WorkerLost,
    WrongArguments,
    WrongResult,
)
from amqtask.hooks import Middleware
from amqtask.joining import allow_join_result
from amqtask.lifecycle import RunningTask, WorkerInfo, WorkerProcess
from amqtask.result import AsyncResult, GroupResult
from amqtask.task import Task

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # Apps and tasks
    "App",
    "Batch",
    "Context",
    "Middleware",
    "Signature",
    "Task",
    "current_task",
    # Workflows
    "BoundSignature",
    "chain",
    "chord",
    "group",
    "signature",
    # Parts of a worker
    "Component",
    "RunningTask",
    "WorkerInfo",
    "WorkerProcess",
    # Results
    "AsyncResult",
    "GroupResult",
    "allow_join_result",
    # Raised by a task to end otherwise, or into it
    "Ignore",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    # Errors
    "AmqtaskError",
    "BatchFailed",
    "BrokerError",
    "ChordError",
    "ConfigError",
    "MaxRetriesExceeded",
    "PublishError",
    "PublishNacked",
    "PublishTimeout",
    "ResultTimeout",
    "TaskError",
    "TaskFailed",
    "TaskRevoked",
    "TimeLimitExceeded",
    "Unroutable",
    "Unserializable",
    "WorkerLost",
    "WrongArguments",
    "WrongResult",
]
