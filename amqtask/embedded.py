"""The embedded broker: what `broker.url: embedded:` stands for. For development.

A program that needs it starts a devbroker in a thread, on a free port of 127.0.0.1, for as long as it lives. By an
environment variable the processes that it starts find the same one; it is empty where none is to be started.
"""

import importlib
import os
import threading
from typing import Any

from amqtask.core.address import EMBEDDED_VARIABLE

SERVER = "amqtask.devbroker.server"
"""Loaded when a broker is embedded: nobody else has use for an AMQP server."""

_lock = threading.Lock()
_servers: list[Any] = []


def need_embedded() -> None:
    """See to it that there is an embedded broker, unless this program is not to start one."""
    with _lock:
        if EMBEDDED_VARIABLE not in os.environ:
            _start()


def embed() -> str:
    """The URL of the embedded broker, which is started if there is none yet."""
    with _lock:
        return os.environ.get(EMBEDDED_VARIABLE) or _start()


def embed_nothing() -> None:
    """Say that this program and those that it starts do not start an embedded broker by themselves.

    That of a command which ends at once would be of no use. One that runs already is used.
    """
    os.environ.setdefault(EMBEDDED_VARIABLE, "")


def _start() -> str:
    server = importlib.import_module(SERVER).Server()
    server.start()
    # It ends with the process: clients that are closed at its exit can still finish what they have under way.
    _servers.append(server)
    os.environ[EMBEDDED_VARIABLE] = server.url
    return str(server.url)
