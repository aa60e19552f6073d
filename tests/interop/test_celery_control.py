"""Remote control between amqtask and the real Celery, both ways, by the commands of both."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.program import ROOT, Scratch

CONFIG = """
    interop: celery
    queues:
      celery: {type: classic, dead_letter: false}
    tasks:
      default_queue: celery
    """

TASKS = """
    @app.task(name="proj.add")
    def add(a, b):
        note("add", a, b)
        return a + b

    @app.task(name="proj.slow")
    def slow(seconds):
        note("slow")
        time.sleep(seconds)
    """

CELERY = """
import time
from celery import Celery
app = Celery("capp", broker={url!r}, set_as_current=False)

@app.task(name="proj.add")
def add(a, b):
    return a + b

@app.task(name="proj.slow")
def slow(seconds):
    time.sleep(seconds)
"""


class Both:
    """A folder with an app of each kind, on one virtual host."""

    def __init__(self, folder: Path, url: str) -> None:
        self.ours = Scratch(folder, url, CONFIG, TASKS)
        (folder / "capp.py").write_text(CELERY.format(url=url))

    def celery(self, *words: str) -> str:
        """`celery -A capp …` to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "celery", "-A", "capp", *words],
            cwd=self.ours.folder,
            env=self.ours.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, command: str, *words: str) -> str:
        """`celery inspect …` and the like of our node; what it printed.

        Celery waits for one second unless told otherwise, which is too little on a busy machine. With a destination it
        returns as soon as that one answered.
        """
        return self.celery(command, "-d", "ours@h", "-t", "60", *words)

    @contextmanager
    def celery_worker(self) -> Iterator[None]:
        """A worker of Celery's, until the block ends."""
        log = self.ours.folder / "celery.log"
        options = ("-P", "threads", "-c", "2", "-n", "c@h", "-E", "-l", "info")
        with log.open("w") as file:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-m",
                    "celery",
                    "-A",
                    "capp",
                    "worker",
                    *options,
                ],
                cwd=self.ours.folder,
                env={**self.ours.environment, "PYTHONPATH": str(ROOT)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            eventually(lambda: "c@h ready" in log.read_text(), 60, log.read_text)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


@pytest.fixture
def both(tmp_path: Path, vhost: str) -> Both:
    return Both(tmp_path, vhost)


@pytest.mark.timeout(300)
def test_celerys_commands_inspect_our_node(both: Both) -> None:
    with both.ours.worker("-n", "ours@h", "-c", "2"):
        both.ours.python("import tasks; tasks.slow.delay(60)")
        eventually(lambda: both.ours.lines() == ["slow"], 30)
        assert "ours@h: OK" in both.ask("inspect", "ping")
        active = json.loads(both.ask("inspect", "active", "--json"))["ours@h"]
        assert [(item["name"], item["args"]) for item in active] == [("proj.slow", [60])]
        assert sorted(json.loads(both.ask("inspect", "registered", "--json"))["ours@h"]) == ["proj.add", "proj.slow"]
        stats = json.loads(both.ask("inspect", "stats", "--json"))["ours@h"]
        assert stats["total"] == {"proj.slow": 1}
        assert stats["pool"]["max-concurrency"] == 2
        queues = json.loads(both.ask("inspect", "active_queues", "--json"))["ours@h"]
        assert queues[0]["name"] == "celery"
        for command in ("reserved", "scheduled", "revoked", "conf", "report", "clock", "memsample"):
            assert "ours@h" in both.ask("inspect", command), command
        assert "1 node online" in both.ask("status")


@pytest.mark.timeout(300)
def test_celerys_commands_steer_our_node(both: Both) -> None:
    with both.ours.worker("-n", "ours@h", "-c", "1") as worker:
        said = both.ask("control", "rate_limit", "proj.add", "10/m")
        assert "new rate limit set successfully" in said
        both.ask("control", "rate_limit", "proj.add", "0")
        task = both.ours.python("import tasks; print(tasks.slow.delay(60).id)").strip()
        eventually(lambda: both.ours.lines() == ["slow"], 30)
        waiting = both.ours.python("import tasks; print(tasks.add.delay(1, 2).id)").strip()
        both.ours.python("import tasks; tasks.add.delay(3, 4)")
        both.ask("control", "revoke", waiting)
        both.ask("control", "terminate", "SIGTERM", task)
        eventually(lambda: "add 3 4" in both.ours.lines(), 60)
        assert "add 1 2" not in both.ours.lines()
        subprocess.run(
            [sys.executable, "-m", "celery", "-A", "capp", "control", "shutdown"],
            cwd=both.ours.folder,
            env=both.ours.environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert worker.wait() == 0


def test_celerys_receiver_hears_our_events(both: Both) -> None:
    code = """
        import capp, tasks
        seen = []
        with capp.app.connection() as connection:
            receiver = capp.app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event)})
            consumer = receiver.itercapture(limit=None, timeout=20, wakeup=True)
            next(consumer)
            tasks.add.delay(1, 2)
            state = capp.app.events.State()
            import time
            until = time.monotonic() + 30
            while time.monotonic() < until and not any(e["type"] == "task-succeeded" for e in seen):
                next(consumer)
        for event in seen:
            state.event(event)
        (task,) = state.tasks.values()
        print(task.name, task.state, task.result, sorted(state.workers))
        """
    with both.ours.worker("-n", "ours@h", "-c", "1", "-E"):
        assert both.ours.python(code) == "proj.add SUCCESS 3 ['ours@h']\n"


def test_our_commands_work_on_celerys_worker(both: Both) -> None:
    def ask(*words: str) -> object:
        done = both.ours.run(*words, "-n", "1", "-t", "10", "--json", "-A", "tasks:app")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)["c@h"]

    with both.celery_worker():
        assert ask("inspect", "ping") == {"ok": "pong"}
        assert "proj.add" in str(ask("inspect", "registered"))
        assert ask("inspect", "active") == []
        assert "celery" in str(ask("inspect", "active_queues"))
        assert ask("control", "rate_limit", "proj.add", "10/m") == {"ok": "new rate limit set successfully"}
        table = both.ours.run("status", "-n", "1", "-t", "10", "-A", "tasks:app").stdout
        assert "c@h" in table
        heard = both.ours.run("events", "--limit", "2", "--timeout", "30", "--json", "-A", "tasks:app").stdout
        assert all(json.loads(line)["hostname"] == "c@h" for line in heard.splitlines())
        assert len(heard.splitlines()) == 2


def test_two_kinds_of_workers_answer_one_command(both: Both) -> None:
    with both.ours.worker("-n", "ours@h", "-c", "1"), both.celery_worker():
        done = both.ours.run("inspect", "ping", "-n", "2", "-t", "10", "--json", "-A", "tasks:app")
        assert json.loads(done.stdout).keys() == {"ours@h", "c@h"}
        assert "2 nodes online" in both.celery("inspect", "-d", "ours@h,c@h", "-t", "60", "ping")
