"""The exception of a task that failed elsewhere, made anew here."""

import sys
from collections.abc import Mapping

from amqtask.core.failure import rebuild_exception
from amqtask.core.state import REJECTED, REVOKED, TaskResult
from amqtask.errors import TaskFailed, TaskRevoked


def error_of(report: TaskResult) -> Exception:
    """The exception that a report of a failure, a revocation or a retry tells of."""
    if report.status == REJECTED:
        why = f": {report.result}" if isinstance(report.result, str) else ""
        return TaskFailed(f"the task rejected its message{why}", type_name="Reject")
    if report.status == REVOKED and not isinstance(report.result, Mapping):
        return TaskRevoked(None if report.result is None else str(report.result))
    error = rebuild_exception(report.result, find_loaded, report.traceback)
    if report.status == REVOKED and not isinstance(error, TaskRevoked):
        # Celery's TaskRevokedError, for one: who waits expects one type.
        return TaskRevoked(str(error.args[0]) if error.args else None)
    return error


def find_loaded(module: str, qualname: str) -> type[Exception] | None:
    """The exception type of this name if its module is imported already. Nothing is ever imported for a message."""
    container: object = sys.modules.get(module)
    found: object = None
    for name in qualname.split("."):
        if container is None:
            return None
        # Not getattr, because a module's own __getattr__ may import what it is asked for.
        found = getattr(container, "__dict__", {}).get(name)
        container = found if isinstance(found, type) else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None
