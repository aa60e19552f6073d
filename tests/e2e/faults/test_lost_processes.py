"""Processes that die while they run a task whose message was acknowledged before: somebody must hear of it."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.e2e.test_worker import depth
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
    routes:
      - {task: "*", queue: work}
    results: {backend: rabbitmq}
    worker:
      restart: {initial: 50ms, max: 100ms, budget: 100}
    """

TASKS = """
    import ctypes

    @app.task(acks_late=False)
    def killed(key):
        note("killed", key)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(acks_late=False)
    def segfault(key):
        note("segfault", key)
        ctypes.string_at(0)

    @app.task(acks_late=False)
    def slow(key, seconds):
        note("slow", key, os.getpid())
        time.sleep(seconds)
        return key

    @app.task(acks_late=False, ignore_result=True)
    def silent(key):
        note("silent", key)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task
    def failed(task_id):
        note("errback", task_id)

    @app.task
    def total(values):
        note("body", values)
        return sum(values)

    @app.task
    def number(value):
        return value
    """

ASK = "r = {call}; print(type(r.get(propagate=False, timeout=60)).__name__, r.state)"


@pytest.mark.parametrize("task", ["killed", "segfault"])
def test_a_task_that_was_acknowledged_early_fails_with_its_process(scratch: MakeScratch, task: str) -> None:
    app = scratch(TASKS, CONFIG)
    # One process: nobody else is there until it is replaced.
    with app.worker("-c", "1") as worker:
        code = "import tasks; " + ASK.format(call=f"tasks.{task}.delay('x')")
        assert app.python(code) == "WorkerLost FAILURE\n"
        assert app.python("import tasks; print(tasks.number.delay(3).get(timeout=60))") == "3\n"
        assert worker.stop() == 0
    assert app.lines() == [f"{task} x"]
    assert "lost without a result" not in worker.output()


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_all_that_ran_in_a_process_fails_with_it_and_nothing_else(scratch: MakeScratch, pool: str) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-P", pool, "--processes", "1", "-c", "4") as worker:
        done = app.python("import tasks; print([tasks.slow.delay(n, 0).get(timeout=60) for n in range(3)])")
        assert done == "[0, 1, 2]\n"
        ids = app.python("import tasks; print(*[tasks.slow.delay(n, 60).id for n in 'abc'])").split()
        eventually(lambda: len(app.lines()) == 6)
        os.kill(int(app.lines()[-1].split()[-1]), signal.SIGKILL)
        code = f"""
            import tasks
            for id in {ids!r}:
                result = tasks.app.AsyncResult(id)
                print(type(result.get(propagate=False, timeout=60)).__name__)
            """
        assert app.python(code) == "WorkerLost\n" * 3
        worker.stop()
    assert len(app.lines()) == 6, "none ran twice"


def test_errbacks_are_called_and_a_chord_hears_of_it(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-c", "2") as worker:
        sent = "import tasks; print(tasks.silent.apply_async(['x'], link_error=tasks.failed.s()).id)"
        lost = app.python(sent).strip()
        eventually(lambda: f"errback {lost}" in app.lines(), 60, worker.output)
        code = """
            import tasks
            from amqtask import chord
            result = chord([tasks.number.s(1), tasks.killed.s('y')])(tasks.total.s())
            print(type(result.get(propagate=False, timeout=60)).__name__)
            """
        assert app.python(code) == "ChordError\n"
        worker.stop()
    assert sorted(line.split()[0] for line in app.lines()) == ["errback", "killed", "silent"]
    assert depth(app, "work") == 0


def test_a_task_that_outlives_its_worker_fails_when_it_cannot_go_back(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG.replace("worker:", "worker:\n      shutdown_timeout: 500ms"))
    with app.worker("-c", "1") as worker:
        (task_id,) = app.python("import tasks; print(tasks.slow.delay('z', 60).id)").split()
        eventually(lambda: len(app.lines()) == 1)
        assert worker.stop() == 0
    code = f"import tasks; print(type(tasks.app.AsyncResult('{task_id}').get(propagate=False, timeout=30)).__name__)"
    assert app.python(code) == "WorkerLost\n"
