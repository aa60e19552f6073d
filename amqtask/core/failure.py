"""Exceptions as data, and back without importing anything: a message names a type, it never causes one to be loaded."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from amqtask.errors import TaskFailed

Resolver: TypeAlias = Callable[[str, str], type[Exception] | None]
"""Gives the exception type of a module's and a qualified name if this process has it already, else None."""

_MAX_DEPTH = 20


class RemoteTraceback(Exception):
    """The cause of a rebuilt exception: the text of the traceback where the task ran."""

    def __str__(self) -> str:
        return f'\n"""\n{str(self.args[0]).rstrip()}\n"""'


def exception_to_dict(error: BaseException) -> dict[str, object]:
    """The exception in Celery's form: type, arguments, module. What JSON cannot hold becomes its repr."""
    kind = type(error)
    return {
        "exc_type": kind.__qualname__,
        "exc_message": [_plain(argument, 0) for argument in error.args],
        "exc_module": kind.__module__,
    }


def rebuild_exception(data: object, resolve: Resolver, traceback: str | None = None) -> Exception:
    """The exception that `data` tells of: of its own type where `resolve` knows it, else a TaskFailed.

    The traceback of the place where it was raised is its cause, which Python prints before it.
    """
    name, module, arguments = _read(data)
    known = resolve(module, name) if module else None
    error = _instance(known, arguments) if known is not None else None
    if error is None:
        full = f"{module}.{name}" if module not in ("", "builtins") else name
        text = ", ".join(str(argument) for argument in arguments)
        return _caused(TaskFailed(text, type_name=full, remote_traceback=traceback), traceback)
    return _caused(error, traceback)


def _read(data: object) -> tuple[str, str, tuple[object, ...]]:
    if not isinstance(data, Mapping):
        return "Exception", "", (data,)
    message = data.get("exc_message")
    arguments = tuple(message) if isinstance(message, list | tuple) else (() if message is None else (message,))
    return str(data.get("exc_type") or "Exception"), str(data.get("exc_module") or ""), arguments


def _instance(kind: type[Exception], arguments: Sequence[object]) -> Exception | None:
    """An exception of this type with these `args`, or None if it does not show them.

    A constructor may take other arguments than it hands on to `Exception`; then it is passed by.
    """
    wanted = tuple(arguments)
    try:
        error = kind(*arguments)
    except Exception:  # noqa: BLE001 - the constructor is the user's; whatever it raises means that it does not fit
        error = None
    if error is None or error.args != wanted:
        try:
            error = kind.__new__(kind, *arguments)
            error.args = wanted
        except Exception:  # noqa: BLE001 - as above
            return None
    return error if isinstance(error, kind) and _shows(error) else None


def _shows(error: Exception) -> bool:
    """Whether the exception can be printed, and says something if it was told something."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - __str__ may rely on what only the constructor sets
        return False
    return bool(text) or not any(str(argument) for argument in error.args)


def _caused(error: Exception, traceback: str | None) -> Exception:
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth < _MAX_DEPTH:
        if isinstance(value, list | tuple):
            return [_plain(item, depth + 1) for item in value]
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _plain(item, depth + 1) for key, item in value.items()}
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a __repr__ that fails must not hide the exception that carries it
        return f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"
