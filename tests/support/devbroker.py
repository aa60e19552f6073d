"""A devbroker process for tests that break it, with the methods of `RabbitNode` that tests use."""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import pytest

from amqtask.devbroker.emulate import DEFAULT
from amqtask.testing.rabbitmq import free_ports, takes_login
from amqtask.testing.reaper import Reaper

START_DEADLINE = 60.0
STOP_DEADLINE = 60.0

_numbers = itertools.count(1)


class DevbrokerNode:
    """A devbroker that keeps what is durable in a folder of its own; a context manager.

    `emulate` is the version of RabbitMQ. The folder goes, and the process with it, on `close` and when this process is
    killed. What only RabbitMQ has skips the test that asks for it.
    """

    def __init__(self, emulate: str = DEFAULT) -> None:
        self._emulate: Final = emulate
        self._folder: Final = Path(tempfile.mkdtemp(prefix="aqt-devbroker-"))
        self._reaper: Final = Reaper()
        self._reaper.watch_folder(str(self._folder))
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._faults_port = free_ports(2)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The default virtual host as guest."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again with the data it had, and wait until it answers AMQP."""
        if self.is_running:
            return
        command = [sys.executable, "-m", "amqtask.devbroker", "--port", str(self.port), "--emulate", self._emulate]
        command += ["--data", str(self._folder / "data"), "--faults-port", str(self._faults_port)]
        log = self._folder / "output.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        self._reaper.watch_group(self._process.pid)
        until = time.monotonic() + START_DEADLINE
        while not takes_login("127.0.0.1", self.port, timeout=2.0):
            assert self._process.poll() is None, f"the devbroker ended while it started:\n{log.read_text()}"
            assert time.monotonic() < until, f"the devbroker did not answer within {START_DEADLINE:g} s"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it as Ctrl-C does; what is durable stays."""
        if self._process is not None:
            self.resume()
            self._process.terminate()
            assert self._process.wait(STOP_DEADLINE) == 0, "the devbroker did not stop cleanly"
            self.kill9()

    def kill9(self) -> None:
        """Kill it at once, as the kernel would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reaper.spare_group(self._process.pid)
            self._process = None

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers on them."""
        if self.is_running and self._process is not None:
            os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """End a `freeze`."""
        if self.is_running and self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def heal(self) -> None:
        """Undo what a test may have done: frozen, alarmed or dead."""
        self.resume()
        if self.is_running:
            self.clear_alarm()
        else:
            self.start()

    def close(self) -> None:
        """Kill it and remove its folder; idempotent."""
        self.kill9()
        self._reaper.close()

    # What tests do to a broker.

    def fresh_vhost(self) -> str:
        """The URL of a new virtual host that nobody used."""
        return self.add_vhost(f"t{next(_numbers)}")

    def add_vhost(self, name: str) -> str:
        """A new virtual host; its URL."""
        self._post("/vhosts", name=name)
        return self.url + quote(name, safe="")

    def set_alarm(self) -> None:
        """Raise the memory alarm: connections that publish are blocked until `clear_alarm`."""
        self._post("/block", reason="low on memory")

    def clear_alarm(self) -> None:
        """End the memory alarm."""
        self._post("/unblock")

    def close_connections(self, reason: str = "closed by a test") -> None:
        """Make the broker close all connections, with 320 CONNECTION_FORCED."""
        for connection in self._state()["connections"]:
            self._post("/close", connection=connection["number"], reason=reason)

    def limit_message_size(self, size: int | None) -> None:
        """Refuse messages above so many bytes; None is the version's own limit."""
        self._post("/faults", message_size_max=size or 0)

    def limit_acknowledgement(self, seconds: float | None) -> None:
        """Wait no longer than this for acknowledgements on channels opened from now on; None is 30 minutes."""
        self._post("/faults", consumer_timeout=seconds or 0)

    def capabilities(self, name: str) -> set[str]:
        """What the client of this connection says that it can do."""
        clients = [connection["client"] for connection in self._state()["connections"]]
        client = next(client for client in clients if client.get("connection_name") == name)
        return {capability for capability, is_there in client["capabilities"].items() if is_there}

    def queue_depth(self, queue: str, vhost: str = "/") -> int:
        """How many messages the queue holds, ready or unacknowledged."""
        queues = self._state()["queues"]
        found = next(it for it in queues if (it["vhost"], it["name"]) == (vhost, queue))
        return int(found["ready"]) + int(found["unacked"])

    def remember_quorum_queues(self) -> None:
        """Nothing to be done: a queue is on the disk when its declaration is answered."""

    def ctl(self, *arguments: str) -> str:
        """Skips the test: users, permissions and policies are RabbitMQ's."""
        pytest.skip(f"needs RabbitMQ: rabbitmqctl {' '.join(arguments[:1])}")

    def _state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._faults_port}/state", timeout=30) as answer:
            seen: dict[str, Any] = json.load(answer)
        return seen

    def _post(self, path: str, **body: Any) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._faults_port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
