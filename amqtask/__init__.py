"""amqtask: tasks over RabbitMQ. Importing it loads nothing; each name is loaded when it is first used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.batch import Batch
    from amqtask.canvas import BoundSignature, chain, chord, group, signature
    from amqtask.component import Component
    from amqtask.context import Context, current_task
    from amqtask.core.signature import Signature
    from amqtask.core.stamping import StampingVisitor
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
    from amqtask.resultset import ResultSet
    from amqtask.task import Task

_PLACES = {
    "amqtask.app": "App",
    "amqtask.batch": "Batch",
    "amqtask.canvas": "BoundSignature chain chord group signature",
    "amqtask.component": "Component",
    "amqtask.context": "Context current_task",
    "amqtask.core.signature": "Signature",
    "amqtask.core.stamping": "StampingVisitor",
    "amqtask.errors": (
        "AmqtaskError BatchFailed BrokerError ChordError ConfigError Ignore MaxRetriesExceeded PublishError"
        " PublishNacked PublishTimeout Reject ResultTimeout Retry SoftTimeLimitExceeded TaskError TaskFailed"
        " TaskRevoked TimeLimitExceeded Unroutable Unserializable WorkerLost WrongArguments WrongResult"
    ),
    "amqtask.hooks": "Middleware",
    "amqtask.joining": "allow_join_result",
    "amqtask.lifecycle": "RunningTask WorkerInfo WorkerProcess",
    "amqtask.result": "AsyncResult GroupResult",
    "amqtask.resultset": "ResultSet",
    "amqtask.task": "Task",
}
"""Where the public names are. A program that needs few of them, as the command line, starts the sooner."""

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
    "StampingVisitor",
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
    "ResultSet",
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

_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
