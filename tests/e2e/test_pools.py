"""Every pool under the real command line, with both drivers: results, soft limits, draining, several processes."""

import importlib.util
import re
import signal
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

POOLS = ["processes", "solo", "threads", "asyncio", "gevent", "eventlet"]
MULTIPLYING = ["threads", "asyncio", "gevent", "eventlet"]

TASKS = """
    import asyncio

    @app.task
    def add(a, b):
        return a + b

    @app.task
    async def later(value):
        await asyncio.sleep(0.05)
        return value

    @app.task(acks_late=False)
    async def early(value):
        return value

    @app.task
    def where():
        time.sleep(0.3)
        return os.getpid()

    @app.task(soft_time_limit=0.5)
    def long():
        try:
            while True:
                time.sleep(0.02)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    @app.task(soft_time_limit=0.5)
    async def long_wait():
        await asyncio.sleep(60)

    @app.task
    def slow(key):
        note("begin", key)
        for _ in range(100):
            time.sleep(0.01)
        note("end", key)

    @app.task
    async def slow_wait(key):
        note("begin", key)
        await asyncio.sleep(1)
        note("end", key)
    """

CALLS = """
    import tasks

    early = [tasks.early.delay(number) for number in range(20)]
    sums = [tasks.add.delay(number, 1) for number in range(30)]
    values = [tasks.later.delay(number) for number in range(30)]
    assert [result.get(timeout=60) for result in sums] == list(range(1, 31))
    assert [result.get(timeout=60) for result in values] == list(range(30))
    assert [result.get(timeout=60) for result in early] == list(range(20))
    assert tasks.long.delay().get(timeout=60) == "cleaned up"
    try:
        tasks.long_wait.delay().get(timeout=60)
    except Exception as error:
        assert "SoftTimeLimitExceeded" in str(error), error
    else:
        raise AssertionError("it ran over its limit")
    print("as it should be")
    """


def skip_what_is_missing(pool: str) -> None:
    if pool in ("gevent", "eventlet", "uvloop") and importlib.util.find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")


@pytest.mark.parametrize("driver", ["pika", "amqp"])
@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_runs_plain_and_coroutine_functions_and_keeps_soft_limits(
    scratch: MakeScratch, pool: str, driver: str
) -> None:
    skip_what_is_missing(pool)
    app = scratch(TASKS)

    with app.worker("-P", pool, "-c", "2", "--set", f"broker.driver={driver}") as worker:
        assert app.python(CALLS) == "as it should be\n"
        assert worker.stop() == 0


@pytest.mark.parametrize("pool", POOLS)
def test_sigterm_waits_for_what_runs_and_gives_back_what_does_not(scratch: MakeScratch, pool: str) -> None:
    skip_what_is_missing(pool)
    app = scratch(TASKS)
    send = "import tasks; [tasks.slow.delay(n) for n in range(4)]; [tasks.slow_wait.delay(n) for n in range(4, 8)]"

    with app.worker("-P", pool, "-c", "2") as worker:
        app.python(send)
        eventually(lambda: any(line.startswith("begin") for line in app.lines()))
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    begun = [line.split()[1] for line in app.lines() if line.startswith("begin")]
    done = [line.split()[1] for line in app.lines() if line.startswith("end")]
    assert sorted(begun) == sorted(done)

    with app.worker("-P", pool, "-c", "8"):
        eventually(lambda: len([line for line in app.lines() if line.startswith("end")]) >= 8)
    assert sorted(line for line in app.lines() if line.startswith("end")) == [f"end {n}" for n in range(8)]


@pytest.mark.parametrize("pool", MULTIPLYING)
def test_a_pool_can_have_several_processes(scratch: MakeScratch, pool: str) -> None:
    skip_what_is_missing(pool)
    app = scratch(TASKS)

    with app.worker("-P", pool, "-c", "2", "--processes", "2") as worker:
        pids = app.python(
            "import tasks; results = [tasks.where.delay() for _ in range(12)];"
            "print(len({result.get(timeout=60) for result in results}))"
        )
        assert worker.stop() == 0

    assert pids == "2\n"
    assert f"{pool}: 2 processes of 2 slots" in worker.output()


def test_asyncio_runs_on_uvloop_where_that_is_asked_for(scratch: MakeScratch) -> None:
    skip_what_is_missing("uvloop")
    app = scratch(
        """
        import asyncio

        @app.task
        async def loop():
            return type(asyncio.get_running_loop()).__module__
        """
    )

    with app.worker("-P", "asyncio", "--set", "worker.uvloop=true"):
        assert app.python("import tasks; print(tasks.loop.delay().get(timeout=60))") == "uvloop\n"


def test_hooks_and_components_are_called_at_the_turns_of_a_worker_s_life(scratch: MakeScratch) -> None:
    app = scratch(
        """
        from amqtask import Component, WorkerInfo, WorkerProcess

        @app.on.worker_init
        def load(worker: WorkerInfo):
            note("worker_init", worker.node, worker.processes)

        @app.on.process_init
        def connect(process: WorkerProcess):
            note("process_init", process.index, process.is_connected)

        @app.on.ready
        def ready(process: WorkerProcess):
            note("ready", process.index, process.is_connected)

        @app.on.shutting_down
        def prepare(process: WorkerProcess):
            note("shutting_down", process.index, [task.name for task in process.running()])

        @app.on.process_shutdown
        def leave(process: WorkerProcess):
            note("process_shutdown", process.index, process.processed)

        class Part(Component):
            def __init__(self, name, *requires):
                self.name, self.requires = name, requires

            def start(self, process):
                note("start", self.name, process.index)

            def stop(self):
                note("stop", self.name)

        pool = Part("pool")
        app.components += [Part("cache", pool), pool]

        @app.task
        def slow():
            note("begin")
            time.sleep(2)
        """
    )

    with app.worker("-c", "1", "-n", "here") as worker:
        eventually(lambda: "ready 0 True" in app.lines())
        app.python("import tasks; tasks.slow.delay()")
        eventually(lambda: "begin" in app.lines())
        assert worker.stop() == 0

    assert app.lines() == [
        "worker_init here 1",
        "process_init 0 False",
        "start pool 0",
        "start cache 0",
        "ready 0 True",
        "begin",
        "shutting_down 0 ['tasks.slow']",
        "stop cache",
        "stop pool",
        "process_shutdown 0 1",
    ]


@pytest.mark.parametrize("pool", ["processes", "gevent"])
@pytest.mark.parametrize("moment", ["worker_init", "process_init"])
def test_a_hook_that_fails_keeps_the_worker_from_starting(scratch: MakeScratch, pool: str, moment: str) -> None:
    skip_what_is_missing(pool)
    app = scratch(
        f"""
        @app.on.{moment}
        def connect(it):
            raise OSError("no such database")
        """
    )

    with app.worker("-P", pool, ready=False) as worker:
        assert worker.wait() == 70

    assert re.search(rf"error: {moment}: connect failed: OSError: no such database", worker.output())
    assert 'raise OSError("no such database")' in worker.output()


def test_the_methods_of_a_task_s_class_are_called_around_its_executions(scratch: MakeScratch) -> None:
    app = scratch(
        """
        import asyncio
        from amqtask import Task

        class Noted(Task):
            def before_start(self, task_id, args, kwargs):
                note("before", self.request.id == task_id, *args)
                if args == ("stop",):
                    raise ValueError("not today")

            def on_success(self, retval, task_id, args, kwargs):
                note("success", retval)

            def on_failure(self, exc, task_id, args, kwargs, einfo):
                note("failure", exc, einfo.startswith("Traceback"))

            def on_retry(self, exc, task_id, args, kwargs, einfo):
                note("retry", exc)
                raise RuntimeError("which changes nothing")

            def after_return(self, status, retval, task_id, args, kwargs, einfo):
                note("after", status, retval)

        @app.task(base=Noted)
        def plain(what):
            return what

        @app.task(base=Noted)
        async def waiting(what):
            await asyncio.sleep(0)
            return what

        @app.task(base=Noted, bind=True, max_retries=1)
        def again(self):
            if self.request.retries == 0:
                raise self.retry(exc=KeyError("x"), countdown=0)
            return "second"
        """
    )

    with app.worker("-c", "1"):
        app.python(
            """
            import tasks
            tasks.plain.delay("a").get(timeout=60)
            tasks.waiting.delay("b").get(timeout=60)
            try:
                tasks.plain.delay("stop").get(timeout=60)
            except ValueError:
                pass
            tasks.again.delay().get(timeout=60)
            """
        )

    assert app.lines() == [
        *["before True a", "success a", "after SUCCESS a"],
        *["before True b", "success b", "after SUCCESS b"],
        *["before True stop", "failure not today True", "after FAILURE not today"],
        *["before True", "retry 'x'", "before True", "success second", "after SUCCESS second"],
    ]


def test_a_script_can_be_the_worker_of_its_own_app(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task
        def name():
            return __name__

        if __name__ == "__main__":
            app.worker_main(["-P", "threads", "-c", "1"])
        """
    )

    worker = app.start_python("import runpy; runpy.run_path('tasks.py', run_name='__main__')")
    try:
        assert app.python("import tasks; print(tasks.name.delay().get(timeout=60))") == "tasks\n"
    finally:
        worker.terminate()
        assert worker.wait(60) == 0
