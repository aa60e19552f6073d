"""Loggers of the library, and the two formats in which a program writes them. The root logger is never touched."""

import json
import logging
import sys
import time
from typing import Any, TextIO

ROOT = "amqtask"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}


# Without it Python prints the warnings of a library whose user set up no logging.
logging.getLogger(ROOT).addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """The library's logger of a subsystem, or a user's task logger."""
    return logging.getLogger(f"{ROOT}.{name}")


def event(action: str, **fields: Any) -> dict[str, Any]:
    """The `extra` of a log line: what happened as a stable word, and its data, which the JSON format prints as keys."""
    return {"action": action, "data": fields}


class TextFormatter(logging.Formatter):
    """One line a record: time, level, process, message."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s [%(process)d] %(message)s", "%H:%M:%S")
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        code = _COLOURS.get(record.levelname) if self._colour else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, process, message, action and its data."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        action = getattr(record, "action", None)
        if action is not None:
            line["action"] = action
            line.update(getattr(record, "data", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        self.converter = time.gmtime
        return super().formatTime(record, datefmt)


def set_up(level: str = "INFO", format: str = "text", stream: TextIO | None = None) -> None:  # noqa: A002 (the option's name)
    """Send the library's log lines to `stream` (standard error by default). For programs; a library never calls it."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    if format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(colour=target.isatty()))
    logger = logging.getLogger(ROOT)
    for old in logger.handlers[:]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    # Nobody reads these two, and each costs a system call or a frame walk a line.
    logging.logThreads = False
    logging.logMultiprocessing = False
