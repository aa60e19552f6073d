"""Row 37 and the clock steps of workers: what is delayed waits, runs late or runs at once, and is never lost.

The processes take their time of day from a file here; deadlines go by the monotonic clock, which never steps.
"""

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      lo: {}
    tasks: {default_queue: lo}
    """

TASKS = """
    from pathlib import Path

    from amqtask.clock import SystemClock

    STEP = Path(JOURNAL).parent / "step"

    class Stepped(SystemClock):
        def time(self):
            return time.time() + (float(STEP.read_text()) if STEP.exists() else 0.0)

    app.clock = Stepped()

    @app.task(ignore_result=True)
    def mark(key):
        note(key)

    @app.task(ignore_result=True, soft_time_limit=60)
    def slow(key):
        note("begin")
        time.sleep(2)
        note(key)
    """

HOUR = 3600


def test_a_worker_whose_clock_is_set_back_delays_again_and_runs_when_it_is_right(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-c", "1", "-l", "debug") as worker:
        app.python("import tasks; tasks.mark.apply_async(('delayed',), countdown=8)")
        assert not app.lines(), "the machine is too slow for this test"
        step(app, -14)
        # By the worker's clock it comes fourteen seconds early, so that it goes back for these.
        worker.wait_for("came too early", 30)
        app.python("import tasks; tasks.mark.delay('at once')")
        eventually(lambda: "delayed" in app.lines(), 60)
        assert worker.stop() == 0
    assert app.lines() == ["at once", "delayed"]


def test_a_clock_that_steps_ends_nothing_that_runs_and_expires_only_what_is_past(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    app.python(
        """
        import tasks
        tasks.mark.apply_async(("old",), expires=600)
        tasks.mark.apply_async(("new",), expires=3 * 3600)
        tasks.slow.delay("limited")
        """
    )
    step(app, HOUR)
    with app.worker("-c", "1") as worker:
        worker.wait_for(r"tasks\.mark\[.*expired")
        eventually(lambda: "begin" in app.lines())
        step(app, 2 * HOUR)
        eventually(lambda: "limited" in app.lines())
        assert worker.stop() == 0
    assert app.lines() == ["new", "begin", "limited"], "ten minutes of life are over, a limit of a minute is not"


def step(app: Scratch, seconds: float) -> None:
    """Set the clock of all that runs by so much; atomic, as it is read all the time."""
    new = app.folder / "step.new"
    new.write_text(str(seconds))
    new.rename(app.folder / "step")
