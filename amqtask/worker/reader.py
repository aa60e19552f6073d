"""Reader: a process that reads the configuration for another one, hands it over, and ends.

It works while the other one imports the app, and takes pydantic and YAML with it when it goes.
"""

import gc
import importlib
import os
import pickle
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amqtask.configuring import ConfigSource
from amqtask.errors import ConfigError
from amqtask.worker.offspring import Offspring

if TYPE_CHECKING:
    from amqtask.config.loaded import LoadedConfig, Reading

READING = "amqtask.config.reading"
"""Imported by the process that reads, and by no other."""

END_AFTER = 5.0
"""Seconds that the process may take to end once it answered."""


class Reader:
    """Reads one configuration, by the process that `start` makes if there is one, else here."""

    def __init__(self, sock: socket.socket | None = None, process: Offspring | None = None) -> None:
        self._socket = sock
        self._process = process
        self._owner = os.getpid()
        self.reading: Reading | None = None
        """What was read."""

    @classmethod
    def start(cls) -> "Reader":
        """Fork a process that reads. It ends by itself, after the reading or when nobody can ask it any more."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _serve(theirs)
        theirs.close()
        return cls(ours, Offspring(pid))

    def read(self, source: ConfigSource | None, overrides: Sequence[str]) -> "LoadedConfig":
        """The configuration from what an App was given.

        Raises:
            ConfigError: all mistakes that were found.
        """
        reading = self._ask(source, overrides)
        if reading is None:
            reading = importlib.import_module(READING).read(source, overrides)
        self.reading = reading
        return reading.loaded

    def hand_over(self) -> None:
        """Another process asks, which was forked from this one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def wait(self) -> None:
        """Wait for the end of the process that reads, if it was forked from this one."""
        if self._process is not None and self._owner == os.getpid() and self._process.wait(END_AFTER) is None:
            self._process.kill()
            self._process.wait()

    def _ask(self, source: ConfigSource | None, overrides: Sequence[str]) -> "Reading | None":
        """What the other process read; None where there is none that can."""
        if self._socket is None:
            return None
        try:
            # The app's module may have changed folder or environment while it was imported.
            request = pickle.dumps((source, list(overrides), os.getcwd(), dict(os.environ)))
        except (pickle.PicklingError, TypeError, AttributeError):
            return None  # Code gave what no configuration holds; the mistake is found here as well.
        try:
            self._socket.sendall(request)
            self._socket.shutdown(socket.SHUT_WR)
            with self._socket.makefile("rb") as stream:
                answer = pickle.load(stream)
        except (OSError, EOFError):
            return None
        finally:
            self.hand_over()
            self.wait()
        if isinstance(answer, tuple):
            raise ConfigError(answer)
        reading: Reading = answer
        return reading


def _serve(sock: socket.socket) -> None:
    """Answer one question, and end without what an interpreter does at its end.

    Whatever goes wrong here goes wrong again where nobody answers and the other process reads for itself.
    """
    code = 1
    gc.disable()
    # Who reads what the program writes is not to wait for this process as well.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    # It would look for plugins in the metadata of every package that is installed.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    try:
        reading = importlib.import_module(READING)
        with sock.makefile("rb") as stream:
            source, overrides, folder, environment = pickle.load(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        try:
            answer = reading.read(source, overrides)
        except ConfigError as error:
            answer = error.problems
        sock.sendall(pickle.dumps(answer))
        code = 0
    except EOFError:
        code = 0
    finally:
        os._exit(code)
