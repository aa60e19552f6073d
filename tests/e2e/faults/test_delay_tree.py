"""What waits in the broker is there when the broker comes back, and runs once (row 36), early or late (row 37)."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from amqtask.core.message import Envelope, HeaderValue
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task(ignore_result=True)
    def mark(number):
        note(number, time.time())
    """

PUBLISH = """
    import tasks, time
    due = time.time() + 12
    with tasks.app.batch():
        for number in range(100):
            tasks.mark.apply_async((number,), countdown=12 + number / 50)
    print(due)
    """


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_what_is_delayed_survives_the_broker(scratch: MakeScratch, node: Node, how: str) -> None:
    app = scratch(TASKS, url=node.fresh_vhost())
    with app.worker("-c", "1", "-l", "error") as worker:
        due = float(app.python(PUBLISH))
        if how == "restart":
            node.restart()
        else:
            node.remember_quorum_queues()
            node.kill9()
            node.start()
        eventually(lambda: len(app.lines()) >= 100, 120, lambda: f"{len(app.lines())} of 100 ran")
        assert worker.stop() == 0
    runs = [(int(number), float(when)) for number, when in (line.split() for line in app.lines())]
    assert {number for number, _ in runs} == set(range(100)), "none is lost"
    assert all(when >= due - 0.01 for _, when in runs), "none is early"
    twice = {number for number, count in Counter(number for number, _ in runs).items() if count > 1}
    assert not twice


def test_messages_that_come_early_wait_and_late_ones_run_as_after_a_step_of_the_brokers_clock(
    scratch: MakeScratch, vhost: str
) -> None:
    """A broker whose clock is set forward, or that fails over to a node whose clock is ahead, hands out messages before
    their time."""
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker, Queues(vhost) as queues:
        now = datetime.now(UTC)
        # Due in five seconds, and an hour ago.
        times = {1: now + timedelta(seconds=5), 2: now - timedelta(hours=1)}
        for number, due in times.items():
            headers: dict[str, HeaderValue] = {"task": "tasks.mark", "id": str(number), "eta": due.isoformat()}
            body = f"[[{number}], {{}}, {{}}]".encode()
            message = Envelope(body=body, headers=headers, content_type="application/json", content_encoding="utf-8")
            for _ in range(3):
                queues.put(message, "lo")
        eventually(lambda: len(app.lines()) == 6, 60)
        assert worker.stop() == 0
        assert queues.depth("lo") == 0
    runs = [(int(number), float(when)) for number, when in (line.split() for line in app.lines())]
    assert [number for number, _ in runs] == [2, 2, 2, 1, 1, 1]
    assert all(when >= times[1].timestamp() - 0.01 for number, when in runs if number == 1)
