"""Rows 18 and 19: a broker out of memory or disk takes no messages, while workers and publishers are at it."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.ledger import CONFIG, TASKS, Ledger
from tests.support.program import Scratch
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

RETRYING = (
    TASKS
    + """
    @app.task(bind=True, max_retries=1)
    def twice(self):
        note("begin", self.request.id, "again" if self.request.retries else "first", os.getpid())
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        note("end", self.request.id, "again", os.getpid())
        return self.request.retries
    """
)

LATER = 10.0
"""Seconds after the end of an alarm within which everything that waited has gone on; measured: under one."""


@pytest.fixture
def full(node: Node) -> Iterator[Callable[[bool], None]]:
    """Fills the broker's disk, or frees it."""

    def fill(is_full: bool) -> None:
        node.ctl("set_disk_free_limit", "100000GB" if is_full else "50MB")

    yield fill
    fill(False)


def test_a_full_disk_stops_publishers_not_workers_and_all_goes_on_when_there_is_room(
    scratch: MakeScratch, node: Node, full: Callable[[bool], None]
) -> None:
    url = node.fresh_vhost()
    app = scratch(RETRYING, CONFIG.rstrip() + "\n    publish: {timeout: 60s}\n", url=url)
    ledger = Ledger(app, url)
    ledger.send(150, 0.05)
    with app.worker("-c", "2") as worker:
        with ledger.publishing():
            eventually(lambda: len(ledger.confirmed) > 170, 60)
            full(True)
            confirmed = len(ledger.confirmed)
            # What the broker had goes on, and is acknowledged.
            eventually(lambda: {f"s{number}" for number in range(150)} <= ledger.ended, 60)
            with Queues(url) as queues:
                eventually(lambda: not queues.depth("lo"), 30)
            assert len(ledger.confirmed) <= confirmed + 1, "nobody was told that a message was taken"
            full(False)
            eventually(lambda: len(ledger.confirmed) > confirmed + 5, LATER)
        ledger.settle()
        assert worker.stop() == 0
    assert not ledger.doubled()


def test_results_and_retries_of_a_worker_wait_for_the_end_of_an_alarm_and_an_operator_reads_why(
    scratch: MakeScratch, node: Node
) -> None:
    url = node.fresh_vhost()
    app = scratch(RETRYING, CONFIG, url=url)
    sender = app.start_python(
        """
        import os, time, tasks
        results = []
        with tasks.app.batch():
            results = [tasks.twice.apply_async(task_id=f"r{n}") for n in range(20)]
        tasks.note("sent all")
        print([result.get(timeout=90) for result in results])
        tasks.note("got all")
        """
    )
    ledger = Ledger(app, url)
    eventually(lambda: "sent all" in app.lines())
    node.set_alarm()
    with app.worker("-c", "2") as worker:
        worker.wait_for(r"the broker takes no messages now: low on memory; \d+ wait")
        eventually(lambda: ledger.begun >= 2)
        node.clear_alarm()
        worker.wait_for("the broker takes messages again")
        eventually(lambda: "got all" in app.lines(), LATER + 20)
        assert sender.wait(30) == 0
        assert worker.stop() == 0
    assert ledger.ended == {f"r{number}" for number in range(20)}
    assert ledger.begun == 40, "two attempts of each, and none twice"
