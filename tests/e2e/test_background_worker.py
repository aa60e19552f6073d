"""`with app.worker():`, a node on a thread of this process."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from amqtask import App, Component, SoftTimeLimitExceeded, WorkerProcess
from amqtask.errors import AppNotFound, ConfigError, HookFailed, UnknownQueue, WorkerLost
from tests.support.broker import ON_EACH_BROKER
from tests.support.eventually import eventually

pytestmark = ON_EACH_BROKER

POOLS = ["threads", "asyncio", "solo"]


@pytest.fixture
def app(vhost: str) -> Iterator[App]:
    made = App(
        "notebook",
        config={"broker": {"url": vhost}, "queues": {"work": {}, "rest": {}}, "tasks": {"default_queue": "work"}},
    )
    yield made
    made.close()


@pytest.mark.parametrize("pool", POOLS)
def test_it_runs_tasks_while_the_block_runs(app: App, pool: str) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    @app.task
    async def later(value: str) -> str:
        await asyncio.sleep(0.01)
        return value

    with app.worker(pool=pool, concurrency=2):  # type: ignore[arg-type]  # one of the names
        results = [add.delay(number, number) for number in range(10)]
        waits = [later.delay(str(number)) for number in range(10)]
        assert [result.get(timeout=30) for result in results] == [2 * number for number in range(10)]
        assert [result.get(timeout=30) for result in waits] == [str(number) for number in range(10)]

    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("amqtask-slot", "amqtask-background", "amqtask-worker"))}


@pytest.mark.parametrize("pool", POOLS)
def test_a_soft_limit_reaches_what_runs(app: App, pool: str) -> None:
    @app.task(soft_time_limit=0.2)
    def long() -> str:
        try:
            while True:
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            return "cleaned up"

    with app.worker(pool=pool, concurrency=1):  # type: ignore[arg-type]  # one of the names
        assert long.delay().get(timeout=30) == "cleaned up"


def test_left_it_waits_for_what_runs_and_the_rest_stays_in_the_queue(app: App) -> None:
    started, go = threading.Event(), threading.Event()
    done = list[int]()

    @app.task
    def work(number: int) -> None:
        started.set()
        go.wait(30)
        done.append(number)

    for number in range(3):
        work.delay(number)
    with app.worker(pool="threads", concurrency=1):
        started.wait(30)
        threading.Timer(0.2, go.set).start()

    assert done == [0]
    with app.worker():
        eventually(lambda: len(done) == 3)
    assert sorted(done) == [0, 1, 2]


def test_a_task_that_does_not_end_is_told_of(app: App) -> None:
    started, go = threading.Event(), threading.Event()

    @app.task
    def hang() -> None:
        started.set()
        go.wait(60)

    hang.delay()
    with pytest.raises(WorkerLost, match=r"tasks that did not end within 0\.5 s: 1"), app.worker(timeout=0.5):
        started.wait(30)
    go.set()


def test_it_consumes_the_queues_that_are_named(app: App) -> None:
    @app.task
    def echo(value: str) -> str:
        return value

    with app.worker(["rest"]):
        waiting = echo.delay("work")
        assert echo.apply_async(["rest"], queue="rest").get(timeout=30) == "rest"
        assert not waiting.ready()
    with pytest.raises(UnknownQueue, match="no queue 'gone'"):
        app.worker(["gone"])


def test_hooks_and_components_are_called_here_too(app: App) -> None:
    heard = list[str]()
    app.on.process_init(lambda process: heard.append(f"init {process.worker.pool} {process.is_connected}"))
    app.on.ready(lambda process: heard.append(f"ready {process.is_connected}"))
    app.on.shutting_down(lambda process: heard.append("shutting down"))
    app.on.process_shutdown(lambda process: heard.append(f"over {process.is_stopping}"))

    class Part(Component):
        def start(self, process: WorkerProcess) -> None:
            heard.append(f"part {process.index}")

        def stop(self) -> None:
            heard.append("part stops")

    app.components.append(Part())

    with app.worker():
        eventually(lambda: "ready True" in heard)

    expected = ["init threads False", "part 0", "ready True", "shutting down", "part stops", "over True"]
    assert heard == expected


def test_a_hook_that_fails_at_the_end_is_logged_and_keeps_nobody_from_ending(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    heard = list[str]()

    @app.on.process_shutdown
    def fail(process: WorkerProcess) -> None:
        raise OSError("it was gone already")

    app.on.process_shutdown(lambda process: heard.append("over"))

    with app.worker():
        pass

    assert heard == ["over"]
    assert "fail failed" in caplog.text
    assert "it was gone already" in caplog.text


def test_a_component_that_cannot_start_is_told_of_and_the_others_are_stopped(app: App) -> None:
    stopped = list[str]()

    class First(Component):
        def stop(self) -> None:
            stopped.append("first")

    class Second(Component):
        def __init__(self, first: First) -> None:
            self.requires = (first,)

        def start(self, process: WorkerProcess) -> None:
            raise OSError("the port is taken")

    app.components.append(Second(First()))

    with pytest.raises(HookFailed, match="component Second failed: OSError: the port is taken"), app.worker():
        pytest.fail("it started")
    assert stopped == ["first"]


def test_pools_of_processes_are_refused_by_name(app: App) -> None:
    with pytest.raises(ConfigError, match="pool 'processes' needs processes of its own"):
        app.worker(pool="processes")  # type: ignore[arg-type]  # that is the point


def test_an_app_that_no_module_holds_cannot_be_a_program(app: App) -> None:
    with pytest.raises(AppNotFound, match="notebook is no variable of a module"):
        app.worker_main([])


def test_a_rate_limit_is_kept_without_a_supervisor(app: App) -> None:
    starts = []

    @app.task(rate_limit="10/s", rate_limit_scope="cluster")
    def tick() -> None:
        starts.append(time.monotonic())

    with app.worker(pool="threads", concurrency=4):
        for result in [tick.delay() for _ in range(8)]:
            result.get(timeout=30)

    # Starts are 0.1 s apart; a busy machine may be late with the first.
    assert starts[-1] - starts[0] > 7 * 0.1 - 0.5
