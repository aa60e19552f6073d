"""Several nodes in the background, and the beat beside a worker."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.beats import TICKING, run_dues
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      lo: {}
      hi: {}
    tasks:
      default_queue: lo
    beat:
      schedule:
        one: {task: tasks.tick, schedule: 1s, args: [one]}
    """


@pytest.fixture
def app(scratch: MakeScratch, tmp_path: Path) -> Iterator[Scratch]:
    made = scratch(TICKING, CONFIG)
    made.environment["AMQTASK_RUN_DIR"] = str(tmp_path / "run")
    yield made
    made.run("multi", "stop", "--kill", "--timeout", "20")


def pid(app: Scratch, name: str) -> int:
    return int(Path(app.environment["AMQTASK_RUN_DIR"], f"{name}.pid").read_text())


def test_nodes_are_started_restarted_and_stopped_as_they_were(app: Scratch) -> None:
    started = app.run("-A", "tasks:app", "multi", "start", "one", "two", "--", "-Q", "hi,lo", "-c", "1")
    assert started.returncode == 0, started.stderr
    assert started.stdout.count("running (pid ") == 2
    assert app.run("multi", "status").stdout == f"one: running (pid {pid(app, 'one')})\n" + (
        f"two: running (pid {pid(app, 'two')})\n"
    )
    again = app.run("-A", "tasks:app", "multi", "start", "one")
    assert again.returncode == 1
    assert "one is running already" in again.stderr

    before = pid(app, "one")
    assert app.run("multi", "restart", "one").returncode == 0
    assert pid(app, "one") != before
    assert "-Q hi,lo" in " ".join(Path(f"/proc/{pid(app, 'one')}/cmdline").read_text().split("\0"))

    os.kill(pid(app, "two"), signal.SIGKILL)
    status = eventually(lambda: (done := app.run("multi", "status")).returncode == 1 and done)
    assert "two: died (pid was " in status.stdout
    assert app.run("multi", "start").returncode == 0, "without names, what does not run is started again"

    stopped = app.run("multi", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "one: stopped\ntwo: stopped\n")
    assert not list(Path(app.environment["AMQTASK_RUN_DIR"]).glob("*.pid"))
    assert app.run("multi", "status").stdout == "one: stopped\ntwo: stopped\n"


def test_a_node_that_cannot_start_shows_why(app: Scratch) -> None:
    done = app.run("-A", "tasks:app", "multi", "start", "one", "--", "-Q", "nowhere")

    assert done.returncode == 1
    assert "one: did not start; its log " in done.stderr
    assert "no queue 'nowhere' is declared" in done.stderr


def test_a_folder_that_cannot_be_written_is_named(app: Scratch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = app.run("multi", "status", "--folder", str(tmp_path / "file" / "run"))

    assert done.returncode == 1
    assert f"cannot write into {tmp_path / 'file' / 'run'} (" in done.stderr
    assert "--folder or AMQTASK_RUN_DIR" in done.stderr


def test_a_worker_brings_its_beat_and_takes_it_along(app: Scratch) -> None:
    with app.worker("-Q", "lo", "-c", "1", "-B") as worker:
        eventually(lambda: len(run_dues(app, "one")) >= 2)
        beat = int(worker.wait_for(r"\[(\d+)\] beat leads")[1])

        os.kill(beat, signal.SIGKILL)
        worker.wait_for("the beat died")
        second = int(worker.wait_for(rf"\[((?!{beat})\d+)\] beat leads")[1])
        worker.stop()

        assert not Path(f"/proc/{second}").exists()


def test_a_reload_of_the_worker_gives_its_beat_the_schedule_of_now(app: Scratch) -> None:
    config = app.folder / "amqtask.yaml"
    with app.worker("-Q", "lo", "-c", "1", "-B") as worker:
        beat = int(worker.wait_for(r"\[(\d+)\] beat leads")[1])
        config.write_text(config.read_text() + "    two: {task: tasks.tick, schedule: 1s, args: [two]}\n")
        worker.signal(signal.SIGHUP)
        worker.wait_for(rf"\[((?!{beat})\d+)\] beat leads")
        eventually(lambda: run_dues(app, "two"))

        config.write_text(config.read_text().replace("schedule: 1s", "schedule: often"))
        worker.signal(signal.SIGHUP)
        worker.wait_for("not loaded anew, the old code goes on")
        seen = len(run_dues(app, "two"))
        eventually(lambda: len(run_dues(app, "two")) > seen)
        assert "the beat died" not in worker.output()
        assert worker.stop() == 0
    dues = run_dues(app, "one")
    assert len(dues) == len(set(dues)), "each tick once"


def test_a_beat_does_not_outlive_a_worker_that_is_killed(app: Scratch) -> None:
    with app.worker("-Q", "lo", "-c", "1", "-B") as worker:
        beat = int(worker.wait_for(r"\[(\d+)\] beat leads")[1])
        os.kill(worker.pid, signal.SIGKILL)

        eventually(lambda: not Path(f"/proc/{beat}").exists())
