"""Rate limits of a whole cluster: three nodes keep one rate together, whoever of them dies."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from amqtask.core.ratelimit import CATCH_UP
from tests.support.eventually import eventually
from tests.support.program import RunningWorker, Scratch

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]

MakeScratch = Callable[..., Scratch]

RATE = 20
CONFIG = """
    queues:
      work: {}
    routes:
      - {task: "*", queue: work}
    tasks:
      rate_limit_scope: cluster
      annotations:
        tasks.tick: {rate_limit: 20/s}
    """

TASKS = """
    @app.task(ignore_result=True)
    def tick(number):
        note("tick", time.monotonic(), os.getppid(), number)

    @app.task
    def free(key):
        note("free", key)
    """


@contextmanager
def cluster(app: Scratch, count: int = 3) -> Iterator[list[RunningWorker]]:
    """Nodes of one process each, ready."""
    with ExitStack() as stack:
        workers = [stack.enter_context(app.worker("-c", "1", "-n", f"n{n}@h", ready=False)) for n in range(count)]
        for worker in workers:
            worker.wait_for("ready ")
        yield workers


def send(app: Scratch, count: int) -> None:
    app.python(f"import tasks\nwith tasks.app.batch():\n  for n in range({count}): tasks.tick.delay(n)\n")


def ticks(app: Scratch) -> list[tuple[float, int, int]]:
    """When each task started, in which node, and its number, in the order of their starts."""
    lines = [line.split() for line in app.lines() if line.startswith("tick")]
    return sorted((float(at), int(node), int(number)) for _, at, node, number in lines)


def assert_no_more_than_the_rate(starts: list[float], rate: float, extra: float) -> None:
    for (first, a), (last, b) in itertools.combinations(enumerate(starts), 2):
        assert last - first <= (b - a) * rate + 1 + extra, f"{last - first + 1} starts within {b - a:.3f} s"


def test_three_nodes_keep_one_rate_and_other_tasks_overtake(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    seconds = 6
    with cluster(app):
        send(app, RATE * seconds)
        app.python("import tasks; tasks.free.delay(1).get(timeout=30)")
        assert len(ticks(app)) < RATE * seconds, "the free task had to wait for the limited ones"
        eventually(lambda: len(ticks(app)) == RATE * seconds, 90)

    seen = ticks(app)
    starts = [at for at, _, _ in seen]
    assert sorted(number for _, _, number in seen) == list(range(RATE * seconds))
    assert len({node for _, node, _ in seen}) == 3, "one node had nothing to do"
    # A keeper that was kept from the processor catches up a little, and a start may be late by as much.
    assert_no_more_than_the_rate(starts, RATE, extra=RATE * CATCH_UP + 2)
    assert starts[-1] - starts[0] > seconds * 0.95 - 0.5


def test_a_keeper_that_is_killed_is_replaced_and_nobody_starts_more(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with cluster(app) as workers:
        send(app, 120)
        eventually(lambda: len(ticks(app)) > 30, 60)
        # Whichever keeps the limit: two of three are killed, one after the other.
        for worker in workers[:2]:
            before = len(ticks(app))
            os.kill(worker.process.pid, signal.SIGKILL)
            eventually(lambda before=before: len(ticks(app)) > before + 10, 60)
        eventually(lambda: {number for _, _, number in ticks(app)} == set(range(120)), 90)

    starts = [at for at, _, _ in ticks(app)]
    assert_no_more_than_the_rate(starts, RATE, extra=RATE * CATCH_UP + 2)
    # A keeper that dies is noticed at once, and the next one has heard all nodes within a second.
    assert max(b - a for a, b in itertools.pairwise(starts)) < 10


def test_control_changes_the_rate_of_the_cluster(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with cluster(app, 2):
        for rate in ("1/h", "50/s"):
            done = app.run("control", "rate_limit", "tasks.tick", rate, "-n", "2", "-A", "tasks:app")
            assert done.returncode == 0, done.stderr
            if rate == "1/h":
                send(app, 50)
                eventually(lambda: len(ticks(app)) == 1, 30)
        # What waited for an hour starts at the new rate.
        eventually(lambda: len(ticks(app)) == 50, 60)
