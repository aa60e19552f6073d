"""What the exit code of `amqtask` says: 0 done, 1 failed, 2 wrong usage, above 64 as in BSD's sysexits.h."""

import os

from amqtask.errors import (
    AmqtaskError,
    AppImportFailed,
    AppNotFound,
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    ConnectionLost,
    PermissionDenied,
    PublishTimeout,
    UnknownQueue,
    WrongArguments,
)

FAILED = 1
USAGE = 2

# The first that fits is taken.
_CODES: tuple[tuple[type[AmqtaskError], int], ...] = (
    (ConfigError, os.EX_CONFIG),
    (UnknownQueue, USAGE),
    (WrongArguments, USAGE),
    (AppNotFound, os.EX_NOINPUT),
    (AppImportFailed, os.EX_SOFTWARE),
    (AuthenticationFailed, os.EX_NOPERM),
    (PermissionDenied, os.EX_NOPERM),
    (ConnectionFailed, os.EX_UNAVAILABLE),
    (ConnectionLost, os.EX_UNAVAILABLE),
    (PublishTimeout, os.EX_TEMPFAIL),
)


def exit_code(error: AmqtaskError) -> int:
    """The exit code that stands for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
