"""Time limits: soft ones are raised inside the task, hard ones end its process; both are answered."""

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task(soft_time_limit=0.5)
    def polite():
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            note("told")
            raise

    @app.task(soft_time_limit=0.5)
    def catches_exceptions():
        try:
            time.sleep(60)
        except Exception:
            note("swallowed")

    @app.task(time_limit=1)
    def stubborn():
        note("begin")
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass

    @app.task(time_limit=1, dead_letter=True)
    def stubborn_letter():
        time.sleep(60)

    @app.task
    def add(a, b):
        return a + b
    """

OUTCOME = """
    import tasks
    result = tasks.{}.delay()
    error = result.get(timeout=60, propagate=False)
    print(type(error).__name__, result.state)
    """


def test_a_soft_limit_is_raised_inside_the_task(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        assert "FAILURE" in app.python(OUTCOME.format("polite"))
        assert app.python("import tasks; print(tasks.add.delay(1, 2).get(timeout=30))") == "3\n"
    assert app.lines() == ["told"]


def test_a_task_that_catches_every_exception_does_not_swallow_its_soft_limit(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        assert "FAILURE" in app.python(OUTCOME.format("catches_exceptions"))
    assert app.lines() == []


def test_a_hard_limit_ends_the_process_and_the_task_fails_once(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        (before,) = worker.children()
        assert app.python(OUTCOME.format("stubborn")) == "TimeLimitExceeded FAILURE\n"
        eventually(lambda: worker.children() not in ([before], []))
        assert app.python("import tasks; print(tasks.add.delay(1, 2).get(timeout=30))") == "3\n"
        assert "died" not in worker.output(), "it was ended on purpose"
    assert app.lines() == ["begin"], "it was not run again"


def test_a_task_over_its_hard_limit_is_a_dead_letter_if_it_asks_for_that(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        assert app.python(OUTCOME.format("stubborn_letter")) == "TimeLimitExceeded FAILURE\n"
        eventually(
            lambda: "lo.dlq: 1 messages" in app.run("purge", "-A", "tasks:app", "-Q", "lo.dlq", stdin="n").stderr
        )


def test_a_hard_limit_in_a_pool_that_cannot_keep_it_is_refused_when_the_worker_starts(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    done = app.run("worker", "-A", "tasks:app", "-P", "threads", "--time-limit", "5")
    assert done.returncode == 78
    assert "a pool of threads shares" in done.stderr


def test_a_process_is_replaced_after_its_number_of_tasks_without_losing_any(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1", "--max-tasks-per-child", "20") as worker:
        (before,) = worker.children()
        out = app.python(
            """
            import tasks
            with tasks.app.batch():
                results = [tasks.add.delay(n, 1) for n in range(100)]
            print(sum(result.get(timeout=60) for result in results))
            """
        )
        assert out == "5050\n"
        eventually(lambda: before not in worker.children())
        assert worker.stop() == 0
