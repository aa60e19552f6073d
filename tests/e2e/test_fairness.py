"""Who gets which message when: prefetch, hand-backs, weights and order among queues."""

import itertools
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.program import Scratch

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      hi: {}
      lo: {}
    tasks: {ignore_result: true}
    """

TASKS = """
    @app.task
    def sleep(seconds, name):
        note("begin", name)
        time.sleep(seconds)
        note("end", name)

    @app.task
    def mark(name):
        note(name)
        time.sleep(0.003)
    """


def ended(app: Scratch) -> set[str]:
    return {line.partition(" ")[2] for line in app.lines() if line.startswith("end ")}


def test_a_long_task_delays_no_short_one_while_another_process_is_idle(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-Q", "lo", "-c", "2") as worker:
        app.python(
            """
            import tasks
            with tasks.app.batch():
                for n in range(100):
                    tasks.sleep.apply_async((0.005, f"a{n}"), queue="lo")
                tasks.sleep.apply_async((30, "long"), queue="lo")
                for n in range(100):
                    tasks.sleep.apply_async((0.005, f"b{n}"), queue="lo")
            """
        )
        eventually(
            lambda: len(ended(app)) == 200, 25, lambda: f"only {len(ended(app))} short tasks ran beside the long"
        )
        assert "long" not in ended(app), "it is the long one that still runs"
        worker.kill()


def test_queues_are_consumed_in_proportion_to_their_weights(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    fill(app, 400)
    with app.worker("-Q", "hi:3,lo:1", "-c", "1"):
        eventually(lambda: len(app.lines()) >= 300, 60)
    share = app.lines()[:300].count("hi") / 300
    assert 0.65 < share < 0.85, f"three quarters are of hi, not {share:.2f}"


def test_queues_without_weights_share_fairly(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    fill(app, 400)
    with app.worker("-Q", "hi,lo", "-c", "1"):
        eventually(lambda: len(app.lines()) >= 300, 60)
    share = app.lines()[:300].count("hi") / 300
    assert 0.4 < share < 0.6, f"half are of hi, not {share:.2f}"


def test_strict_order_takes_from_the_left_first(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    fill(app, 300)
    with app.worker("-Q", "hi,lo", "--strict", "-c", "1"):
        eventually(lambda: len(app.lines()) == 600, 60)
    runs = [(name, len(list(group))) for name, group in itertools.groupby(app.lines())]
    before = app.lines()[: len(app.lines()) - app.lines()[::-1].index("hi")].count("lo")
    assert before <= 5, f"{before} of lo ran before the last of hi: {runs[:10]}"


def test_a_fixed_prefetch_is_kept(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-Q", "lo", "-c", "1", "--prefetch", "3", "--set", "worker.hand_back_after=1h"):
        app.python("import tasks\nfor n in range(10): tasks.sleep.apply_async((60, str(n)), queue='lo')")
        eventually(lambda: "begin 0" in app.lines())
        eventually(lambda: ready(app, "lo") == 7)


def fill(app: Scratch, count: int) -> None:
    """Messages in both queues before anybody consumes."""
    app.python(
        f"""
        import tasks
        with tasks.app.batch():
            for _ in range({count}):
                tasks.mark.apply_async(("hi",), queue="hi")
                tasks.mark.apply_async(("lo",), queue="lo")
        """
    )


def ready(app: Scratch, queue: str) -> int:
    """Messages that no consumer holds."""
    done = app.run("purge", "-A", "tasks:app", "-Q", queue, stdin="n\n")
    return int(done.stderr.split(f"{queue}: ")[1].split()[0])
