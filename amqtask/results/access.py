"""What handles on results need of an app."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from amqtask.errors import ResultUnavailable
from amqtask.results.base import ResultBackend

Revoke: TypeAlias = Callable[[str, bool, str], None]
"""Revokes the task of this id; whether to end it when it runs already, and by which signal."""


Convert: TypeAlias = Callable[[str, object], object]
"""Makes the return value of the task of this name from what the backend kept: a model of a dict, for instance."""


def _cannot_revoke(task_id: str, terminate: bool, signal: str) -> None:
    raise ResultUnavailable("this result is not connected with an app that could revoke its task")


def _as_it_is(task: str, value: object) -> object:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAccess:
    """What handles on results need of an app."""

    backend: ResultBackend
    revoke: Revoke = _cannot_revoke
    convert: Convert = _as_it_is
