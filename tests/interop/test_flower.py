"""Flower, the dashboard of Celery's users, lists our nodes and tasks and steers them."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amqtask.testing.rabbitmq import free_ports
from tests.interop.test_celery_control import Both
from tests.support.eventually import eventually

pytest.importorskip("flower", reason="Flower is not installed (extra interop)")


class Flower:
    """A running Flower, seen through its API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self._url + path, timeout=30) as response:
            return json.load(response)

    def post(self, path: str, form: str = "") -> str:
        with urllib.request.urlopen(self._url + path, data=form.encode(), timeout=30) as response:
            return str(json.load(response)["message"])

    def is_up(self) -> bool:
        try:
            return bool(self.get("/api/workers?refresh=1"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def flower(both: Both) -> Iterator[Flower]:
    """Flower on Celery's app of the folder."""
    port = free_ports(1)[0]
    with (both.ours.folder / "flower.log").open("w") as log:
        command = ["-W", "ignore", "-m", "celery", "-A", "capp", "flower", "--address=127.0.0.1", f"--port={port}"]
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=both.ours.folder,
            env={**both.ours.environment, "FLOWER_UNAUTHENTICATED_API": "true"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Flower(port)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.timeout(240)
def test_flower_lists_our_nodes_and_tasks_and_steers_them(tmp_path: Path, vhost: str) -> None:
    both = Both(tmp_path, vhost)
    with both.ours.worker("-n", "ours@h", "-c", "2", "-E"), flower(both) as seen:
        eventually(seen.is_up, 90)
        (node,) = seen.get("/api/workers").items()
        assert node[0] == "ours@h"
        assert {"proj.add", "proj.slow"} <= set(node[1]["registered"])
        assert [queue["name"] for queue in node[1]["active_queues"]] == ["celery"]
        assert node[1]["stats"]["pool"]["max-concurrency"] == 2

        both.ours.python("import tasks; tasks.add.delay(1, 2)")
        tasks: Callable[[], dict[str, Any]] = lambda: seen.get("/api/tasks?taskname=proj.add")  # noqa: E731
        eventually(lambda: [task["state"] for task in tasks().values()] == ["SUCCESS"], 60)
        (task,) = tasks().values()
        assert (task["worker"], task["args"], task["result"]) == ("ours@h", "(1, 2)", "3")
        assert task["started"] >= task["received"]

        assert "by 1" in seen.post("/api/worker/pool/grow/ours@h?n=1")
        said = seen.post("/api/task/rate-limit/proj.add", "workername=ours@h&ratelimit=10/m")
        assert said == "new rate limit set successfully"
        said = seen.post("/api/task/timeout/proj.add", "workername=ours@h&soft=30&hard=60")
        assert said == "time limits set successfully"
        assert seen.get("/api/workers?status=true") == {"ours@h": True}
