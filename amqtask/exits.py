"""Exit codes of the programs: 0, 1 and 2 as everywhere, above that those of BSD's sysexits(3) where they fit."""

import os

from amqtask.errors import (
    AppImportFailed,
    AppNotFound,
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    ConnectionLost,
    HookFailed,
    PermissionDenied,
    PublishTimeout,
    UnknownQueue,
    WrongAnnotation,
    WrongArguments,
)

OK = 0
FAILED = 1
USAGE = 2
NO_APP = os.EX_NOINPUT
SOFTWARE = os.EX_SOFTWARE
UNAVAILABLE = os.EX_UNAVAILABLE

# The first that fits is taken.
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, os.EX_CONFIG),
    (UnknownQueue, USAGE),
    (WrongArguments, USAGE),
    (AppNotFound, NO_APP),
    (AppImportFailed, SOFTWARE),
    (WrongAnnotation, SOFTWARE),
    (HookFailed, SOFTWARE),
    (AuthenticationFailed, os.EX_NOPERM),
    (PermissionDenied, os.EX_NOPERM),
    (ConnectionFailed, UNAVAILABLE),
    (ConnectionLost, UNAVAILABLE),
    (PublishTimeout, os.EX_TEMPFAIL),
)


def exit_code(error: Exception) -> int:
    """The exit code that stands for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
