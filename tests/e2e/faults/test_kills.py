"""Rows 1 to 3: parts of a worker are killed, or all of it at once, or it is asked to stop in the middle of its work."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.ledger import CONFIG, TASKS, Ledger
from tests.support.program import RunningWorker, Scratch

MakeScratch = Callable[..., Scratch]

AT_ONCE = 2


def nursery(worker: RunningWorker) -> int:
    """The process that forks those that execute."""
    (child, *_) = worker.children()
    with open(f"/proc/{child}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def kill_a_child(worker: RunningWorker) -> None:
    os.kill(worker.children()[0], signal.SIGKILL)


def kill_the_nursery(worker: RunningWorker) -> None:
    os.kill(nursery(worker), signal.SIGKILL)


def kill_the_supervisor(worker: RunningWorker) -> None:
    os.kill(worker.pid, signal.SIGKILL)


def kill_everything(worker: RunningWorker) -> None:
    os.killpg(worker.pid, signal.SIGKILL)


VICTIMS = {
    "child": (kill_a_child, "SIGKILL"),
    "nursery": (kill_the_nursery, "the process that forks the others is gone"),
    "supervisor": (kill_the_supervisor, "the supervisor is gone"),
    "everything": (kill_everything, ""),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_whatever_is_killed_each_task_runs_and_again_only_what_the_broker_delivers_again(
    scratch: MakeScratch, vhost: str, victim: str
) -> None:
    kill, said = VICTIMS[victim]
    app = scratch(TASKS, CONFIG, url=vhost)
    ledger = Ledger(app, vhost)
    ledger.send(100, 0.02)
    with app.worker("-c", str(AT_ONCE)) as worker:
        ledger.wait_begun(20)
        kill(worker)
        if said:
            worker.wait_for(said)
        if victim == "child":
            ledger.settle()
            assert worker.stop() == 0
    if victim != "child":
        with app.worker("-c", str(AT_ONCE)) as worker:
            ledger.settle()
            assert worker.stop() == 0


def test_a_task_whose_worker_is_killed_has_one_result(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(
        """
        @app.task(bind=True)
        def slow(self):
            note("begin", os.getpid())
            while not os.path.exists("go"):
                time.sleep(0.01)
            return self.request.delivery_info.redelivered
        """,
        CONFIG,
        url=vhost,
    )
    sender = app.start_python(
        "import tasks; r = tasks.slow.delay(); tasks.note('result', r.get(timeout=90), r.state, r.get())"
    )
    with app.worker("-c", "1") as worker:
        eventually(lambda: len(app.lines()) == 1)
        kill_everything(worker)
    with app.worker("-c", "1") as worker:
        eventually(lambda: len(app.lines()) == 2)
        (app.folder / "go").touch()
        assert sender.wait(90) == 0
        assert worker.stop() == 0
    assert app.lines()[2:] == ["result True SUCCESS True"]


@pytest.mark.parametrize("signals", [1, 2])
def test_what_a_worker_that_stops_has_not_done_is_done_by_the_next(
    scratch: MakeScratch, vhost: str, signals: int
) -> None:
    app = scratch(TASKS, CONFIG, url=vhost)
    ledger = Ledger(app, vhost)
    ledger.send(40, 0.1)
    with app.worker("-c", str(AT_ONCE)) as worker:
        ledger.wait_begun(6)
        for _ in range(signals):
            worker.signal(signal.SIGTERM)
            worker.wait_for("SIGTERM: finishing what runs")
        assert worker.wait() == 0
    with app.worker("-c", str(AT_ONCE)) as worker:
        ledger.settle()
        assert worker.stop() == 0
    # The first signal lets what runs come to its end, the second hands it back.
    assert len(ledger.doubled()) <= (0 if signals == 1 else AT_ONCE)
