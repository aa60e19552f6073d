"""`amqtask dev` and `broker.url: embedded:`: what works where nothing is installed but Python."""

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from amqtask.cli.reload import looked_at
from tests.support.eventually import eventually
from tests.support.program import RunningWorker, Scratch

CONFIG = """
    queues: {work: {}}
    tasks: {default_queue: work}
    worker: {concurrency: 1}
    """
TASKS = """
    @app.task
    def add(x: int, y: int):
        return x + y
    """
NOWHERE = "amqp://guest:guest@localhost:1/"
"""A broker that must not be asked."""


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path, NOWHERE, CONFIG, TASKS)


@pytest.fixture
def dev(scratch: Scratch) -> Iterator[RunningWorker]:
    """`amqtask dev`, ready."""
    with scratch.running("dev", "-A", "tasks:app", "--port", "0") as process:
        process.wait_for("Ctrl-C stops")
        yield process


def do_as_it_says(dev: RunningWorker) -> None:
    """Export what it says, as one would in another terminal."""
    exported = dev.wait_for(r"export (AMQTASK_BROKER_URL=\S+) (AMQTASK_APP=\S+)").groups()
    dev.scratch.environment.update(variable.split("=", 1) for variable in exported)


def test_the_commands_that_it_shows_work_in_another_terminal(dev: RunningWorker) -> None:
    assert "for development and tests, not for production; all is in memory" in dev.output()
    assert re.search(r"faults   http://127\.0\.0\.1:\d+/", dev.output())
    do_as_it_says(dev)
    assert dev.wait_for(r"amqtask call (.*)")[1] == "tasks.add -a '[1, 1]' --wait 10"

    called = dev.scratch.run("call", "tasks.add", "-a", "[1, 1]", "--wait", "60")

    assert (called.returncode, called.stdout.splitlines()[1:]) == (0, ["2"]), called.stderr
    assert "1 node" in dev.scratch.run("status", "--timeout", "20").stdout
    dev.signal(signal.SIGINT)
    assert dev.wait() == 0
    assert "Traceback" not in dev.output()


def test_a_change_of_the_source_is_loaded(dev: RunningWorker) -> None:
    do_as_it_says(dev)

    source = dev.scratch.folder / "tasks.py"
    source.write_text(source.read_text().replace("x + y", "x * 100 + y"))
    dev.wait_for("loaded anew")

    def answer() -> str:
        return dev.scratch.run("call", "tasks.add", "-a", "[1, 1]", "--wait", "60").stdout

    eventually(lambda: answer().endswith("\n101\n"), 60)


def test_what_is_durable_is_kept_where_it_is_asked_for(scratch: Scratch) -> None:
    command = ("dev", "--no-worker", "--port", "0", "--data", "kept")
    for expected in ("missing", "1 "):
        with scratch.running(*command) as broker:
            scratch.environment["AMQTASK_BROKER_URL"] = broker.wait_for(r"amqp +(amqp://\S+)")[1]
            assert "kept in kept" in broker.output()
            broker.wait_for("Ctrl-C ends it")
            shown = scratch.run("queues").stdout
            assert re.search(rf"^work .*{expected}", shown, re.MULTILINE), shown
            scratch.run("call", "tasks.add", "-a", "[1, 2]")
            assert broker.stop() == 0


def test_a_port_that_is_taken_is_said_with_what_to_do(scratch: Scratch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = scratch.run("dev", "-A", "tasks:app", "--port", str(port))

    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr == (
        f"error: port {port} is taken, perhaps by a RabbitMQ; `amqtask dev --port {port + 1}` uses another\n"
    )


def test_an_app_that_cannot_be_imported_ends_it_with_its_traceback(scratch: Scratch) -> None:
    (scratch.folder / "tasks.py").write_text("1 / 0\n")

    done = scratch.run("dev", "-A", "tasks:app", "--port", "0")

    assert done.returncode == os.EX_SOFTWARE
    assert "ZeroDivisionError: division by zero" in done.stderr


def test_without_an_app_there_is_nothing_to_work_for(scratch: Scratch) -> None:
    done = scratch.run("dev", "--port", "0")

    assert done.returncode == 2
    assert "--no-worker" in done.stderr


def test_a_worker_embeds_a_broker_and_says_how_others_reach_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "'embedded:'", CONFIG, TASKS)
    with scratch.worker() as worker:
        lost = scratch.run("call", "tasks.add", "-a", "[1, 2]")
        scratch.environment["AMQTASK_BROKER_URL"] = worker.wait_for(r"export AMQTASK_BROKER_URL=(\S+)")[1]

        found = scratch.run("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]", "--wait", "60")

        assert lost.returncode == os.EX_CONFIG
        assert "broker.url is embedded: a broker that lives in the program which uses it" in lost.stderr
        assert found.stdout.endswith("\n3\n"), found.stderr
        assert worker.stop() == 0


def test_a_program_that_embeds_a_broker_shares_it_with_those_that_it_starts(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "'embedded:'", CONFIG, TASKS)

    said = scratch.python(
        """
        import subprocess, sys
        from tasks import add, app

        with app:
            result = add.delay(1, 2)
            with subprocess.Popen([sys.executable, "-m", "amqtask", "worker", "-A", "tasks:app"]) as worker:
                print(result.get(timeout=60))
                worker.terminate()
        """
    )

    assert said == "3\n"


def test_files_are_looked_at_where_the_system_does_not_tell_of_changes(tmp_path: Path) -> None:
    source = tmp_path / "package" / "tasks.py"
    source.parent.mkdir()
    source.write_text("1")
    (tmp_path / ".venv").mkdir()
    changes = looked_at(tmp_path, interval=0.01)

    def change() -> None:
        (tmp_path / ".venv" / "noise.py").write_text("1")
        source.write_text("2")

    threading.Timer(0.2, change).start()
    seen = next(changes)

    assert isinstance(seen, dict)
    assert list(seen) == [str(source)]
