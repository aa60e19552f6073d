"""Nothing is lost: every id that was published is accounted for, whatever dies in between."""

import collections
import os
import signal
from collections.abc import Callable

import pytest

from tests.support import ledger
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task(bind=True, ignore_result=True)
    def mark(self, number):
        note(number, "again" if self.request.delivery_info.redelivered else "first")
        time.sleep(0.002)
    """

PUBLISH = """
    import tasks
    tasks.app.configure(overrides=["publish.timeout=60s"])
    for start in range(0, 5000, 500):
        with tasks.app.batch():
            for number in range(start, start + 500):
                tasks.mark.delay(number)
        print(start, flush=True)
    """


def account(app: Scratch) -> dict[int, collections.Counter[str]]:
    """How often each number ran, by whether the broker said that it had been delivered before."""
    runs: dict[int, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in app.lines():
        number, how = line.split()
        runs[int(number)][how] += 1
    return runs


def test_five_thousand_tasks_survive_a_killed_process_and_a_restarted_broker(scratch: MakeScratch, node: Node) -> None:
    app = scratch(TASKS, url=node.fresh_vhost())
    app.python(PUBLISH)
    with app.worker("-c", "2", "-l", "warning") as worker:
        eventually(lambda: len(app.lines()) > 500, 120)
        os.kill(worker.children()[0], signal.SIGKILL)
        eventually(lambda: len(app.lines()) > 1500, 120)
        node.restart()
        eventually(lambda: len(account(app)) == 5000, 240, lambda: f"{len(account(app))} of 5000 ran")
        assert worker.stop() == 0
    runs = account(app)
    assert set(runs) == set(range(5000)), "none lost"
    unflagged = {number: how for number, how in runs.items() if how["first"] > 1}
    assert not unflagged, "a second run is always one that the broker flagged as redelivered"


def test_publishing_goes_on_through_a_restart_of_the_broker_and_nothing_confirmed_is_lost(
    scratch: MakeScratch, node: Node
) -> None:
    app = scratch(TASKS, url=node.fresh_vhost())
    with app.worker("-c", "2", "-l", "warning") as worker:
        publisher = app.start_python(PUBLISH)
        eventually(lambda: len(app.lines()) > 300, 120)
        node.remember_quorum_queues()
        node.kill9()
        node.start()
        assert publisher.wait(180) == 0, "every batch was confirmed"
        eventually(lambda: len(account(app)) == 5000, 240, lambda: f"{len(account(app))} of 5000 ran")
        assert worker.stop() == 0


def test_a_frozen_broker_that_wakes_again_loses_nothing(scratch: MakeScratch, node: Node) -> None:
    url = node.fresh_vhost()
    app = scratch(ledger.TASKS, ledger.CONFIG, url=url)
    tasks = ledger.Ledger(app, url)
    tasks.send(100, 0.05)
    with app.worker("-c", "2") as worker, tasks.publishing():
        eventually(lambda: len(tasks.confirmed) > 120)
        node.freeze()
        try:
            worker.wait_for(r"nothing came for 2 s \(heartbeat\)")
        finally:
            node.resume()
        before = len(tasks.confirmed)
        eventually(lambda: len(tasks.confirmed) > before + 30, 60)
        (app.folder / "enough").touch()
        tasks.settle()
        assert worker.stop() == 0
