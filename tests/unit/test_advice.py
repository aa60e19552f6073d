"""What a worker warns of when it starts."""

import pytest

from amqtask import App, Middleware
from amqtask.config.model import WorkerConfig
from amqtask.worker.advice import advise


@pytest.fixture
def app() -> App:
    made = App("advised", config={"queues": {"work": {}}, "tasks": {"default_queue": "work"}})

    @made.task
    def plain() -> None: ...

    return made


def advice(app: App, pool: str = "processes", slots: int = 1, **worker: object) -> list[str]:
    return list(advise(app, WorkerConfig(pool=pool, **worker), pool, slots))  # type: ignore[arg-type]  # of tests


def test_a_usual_worker_is_warned_of_nothing(app: App) -> None:
    assert advice(app, "threads", 8) == []


def test_tasks_that_no_module_defines_are_missed() -> None:
    assert "no task is registered" in advice(App("empty", config={}), "threads")[0]


def test_a_hard_limit_is_missed_where_tasks_share_a_process(app: App) -> None:
    @app.task(time_limit=5, name="shop.charge")
    def charge() -> None: ...

    assert advice(app, "solo") == []
    assert "the time limit of shop.charge is not kept" in advice(app, "asyncio")[0]


def test_a_middleware_that_coroutines_pass_by_is_named(app: App) -> None:
    class Half(Middleware):
        def around_execute(self, context, proceed):  # type: ignore[no-untyped-def]  # as users write it
            return proceed(context)

    app.middleware.append(Half())
    assert advice(app, "threads") == []

    @app.task(name="shop.fetch")
    async def fetch() -> None: ...

    assert "Half has around_execute only" in advice(app, "threads")[0]
    assert "(shop.fetch)" in advice(app, "threads")[0]


def test_a_concurrency_that_solo_cannot_have_is_told_of(app: App) -> None:
    assert "one task at a time" in advice(app, "solo", concurrency=4)[0]


def test_more_threads_than_one_interpreter_can_use_are_told_of(app: App) -> None:
    assert "consider --processes" in advice(app, "threads", 2000)[0]
