"""Long chains: messages stay small, and the rest that waits in RabbitMQ is neither lost nor doubled."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
    routes:
      - {task: "*", queue: work}
    workflows:
      inline: INLINE
    """

TASKS = """
    from amqtask import chain, chord

    @app.task(bind=True)
    def step(self, done, number, seconds=0.0):
        time.sleep(seconds)
        note("step", number, len(self.request.message.delivery.envelope.body), os.getpid())
        return number

    @app.task
    def total(numbers):
        return sum(numbers)
    """


def steps(app: Scratch) -> list[tuple[int, int]]:
    """Number and size of each step that ran, in the order in which they ended."""
    words = [line.split() for line in app.lines() if line.startswith("step")]
    return [(int(number), int(size)) for _, number, size, _ in words]


@pytest.mark.timeout(300)
def test_a_chain_of_a_thousand_steps_has_small_messages_and_leaves_nothing_behind(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(TASKS, CONFIG.replace("INLINE", "8KiB"))
    first = app.python(
        """
        from tasks import *
        result = chain(step.s(0, 0), *(step.s(n) for n in range(1, 1000))).delay()
        while result.parent is not None:
            result = result.parent
        print(result.id)
        """
    ).strip()

    def waiting() -> list[int | None]:
        with Queues(vhost) as queues:
            return [queues.depth(f"aqt.chord.{first}.rest.{number}") for number in (1, 2, 10)]

    assert waiting() == [1, 1, 1]
    with app.worker("-c", "2") as worker:
        eventually(lambda: len(steps(app)) == 1000, 240, worker.output)
        eventually(lambda: waiting() == [None, None, None], 30)
    ran = steps(app)
    assert [number for number, _ in ran] == list(range(1000))
    assert max(size for _, size in ran) < 10 * 1024


@pytest.mark.timeout(300)
def test_processes_that_are_killed_within_a_long_chain_lose_none_of_it(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG.replace("INLINE", "500B"))
    with app.worker("-c", "2") as worker:
        program = app.start_python(
            """
            from pathlib import Path
            from tasks import *
            line = chain(step.s(0, 0), *(step.s(n, 0.02) for n in range(1, 60)))
            assert chord([line, step.s(0, 1000)], total.s()).delay().get(timeout=150) == 1059
            note("over")
            """
        )
        for seen in (5, 20, 40):
            eventually(lambda seen=seen: len(steps(app)) >= seen, 100, worker.output)  # type: ignore[misc]
            os.kill(int(app.lines()[-1].split()[-1]), signal.SIGKILL)
        eventually(lambda: "over" in app.lines(), 120, worker.output)
        program.wait(timeout=60)
    # Some may have run twice, but none was passed over.
    first_runs = list(dict.fromkeys(number for number, _ in steps(app) if number < 1000))
    assert first_runs == list(range(60))
