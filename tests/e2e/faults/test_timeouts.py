"""Row 23: a task runs longer than the broker waits for acknowledgements (`consumer_timeout`).

RabbitMQ up to 4.2 closes the channel; from 4.3 on it cancels the consumer, as the queue says (`make test-matrix`).
"""

from collections.abc import Callable, Iterator

import pytest

from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.ledger import TASKS, Ledger
from tests.support.program import Scratch
from tests.support.queues import Queues

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

LIMIT = 3

CONFIG = f"""
    queues:
      lo: {{consumer_timeout: {LIMIT}s}}
    tasks: {{default_queue: lo}}
    worker:
      consumer_timeout: {LIMIT}s
    """


@pytest.fixture
def impatient(node: Node) -> Iterator[str]:
    """The URL of a new virtual host of a broker that waits no longer than `LIMIT` seconds."""
    node.limit_acknowledgement(LIMIT)
    yield node.fresh_vhost()
    node.limit_acknowledgement(None)


def test_a_task_beyond_the_limit_is_warned_about_runs_once_and_is_settled(scratch: MakeScratch, impatient: str) -> None:
    app = scratch(TASKS, CONFIG, url=impatient)
    ledger = Ledger(app, impatient)
    ledger.send(1, seconds=LIMIT * 2.5)
    with app.worker("-c", "1") as worker:
        worker.wait_for(rf"tasks\.mark\[s0\] has run \d s; after {LIMIT} s without an ack the broker")
        worker.wait_for("took its messages back")
        worker.wait_for("came again while it runs")
        ledger.send(5)
        ledger.settle()
        with Queues(impatient) as queues:
            eventually(lambda: queues.depth("lo") == 0)
        assert worker.stop() == 0
        assert worker.output().count("has run") == 1, "it is said once"
        assert "no control log" not in worker.output(), "that is read all the time, and acknowledged"
    assert len(ledger.pids("s0")) == 1


def test_tasks_beside_one_beyond_the_limit_are_not_lost(scratch: MakeScratch, impatient: str) -> None:
    app = scratch(TASKS, CONFIG, url=impatient)
    ledger = Ledger(app, impatient)
    with app.worker("-P", "threads", "-c", "2") as worker:
        ledger.send(1, seconds=LIMIT * 2.5)
        ledger.wait_begun(1)
        ledger.send(60, seconds=0.1)
        ledger.settle()
        with Queues(impatient) as queues:
            eventually(lambda: queues.depth("lo") == 0)
        assert worker.stop() == 0
    # The others run again where their acknowledgements were under way when the channel was closed.
    assert len(ledger.pids("s0")) == 1, "one process attaches what comes again to what runs"
