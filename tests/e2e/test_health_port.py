"""The example health_port: a component that serves HTTP in each process of a worker."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]


def free_ports() -> int:
    """The first of two ports that nobody listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def ask(port: int) -> tuple[int, dict[str, Any]] | None:
    """The status and the answer; None where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return None


def healthy(port: int) -> bool:
    answer = ask(port)
    return answer is not None and answer[0] == 200


def test_each_process_answers_how_it_is_until_it_has_stopped(vhost: str) -> None:
    port = free_ports()
    environment = os.environ | {"AMQTASK_BROKER_URL": vhost, "HEALTH_PORT": str(port)}
    command = [sys.executable, "-m", "amqtask", "worker", "-A", "examples.health_port.tasks:app", "-c", "2"]
    call = "from examples.health_port.tasks import nap; nap.delay(3)"
    worker = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: healthy(port) and healthy(port + 1), 60, "the ports do not answer")

        subprocess.run([sys.executable, "-c", call], cwd=ROOT, env=environment, check=True, timeout=60)
        busy = eventually(
            lambda: [answer for answer in (ask(port), ask(port + 1)) if answer and answer[1]["running"]],
            message="the task is not seen",
        )
        assert busy[0][1]["running"][0]["name"] == "examples.health_port.tasks.nap"
        assert busy[0][1]["connected"] is True

        worker.terminate()
        eventually(lambda: [a for a in (ask(port), ask(port + 1)) if a and a[0] == 503 and a[1]["stopping"]])
        assert worker.wait(60) == 0
        assert ask(port) is None
        assert ask(port + 1) is None
    finally:
        worker.kill()
        worker.wait(30)
