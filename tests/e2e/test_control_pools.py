"""Steering in each pool: ending tasks, limits, queues; and what a pool cannot do, said."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.test_control import Fleet, fleet
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    exchanges:
      tasks: {type: topic}
    queues:
      hi: {bind: ["tasks[hi.#]"]}
      lo: {bind: ["tasks[lo.#]"]}
      extra: {}
    routes:
      - {task: "tasks.hi_*", exchange: tasks, key: "hi.{task}"}
      - {task: "*", exchange: tasks, key: "lo.{task}"}
    worker:
      queues: [hi, lo]
    results: {backend: rabbitmq}
    """

TASKS = """
    import asyncio

    @app.task
    def add(a, b):
        note("add", a, b)
        return a + b

    @app.task
    def hold(key, seconds=60):
        note("begin", key)
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(0.02)
            note("end", key)
        except SoftTimeLimitExceeded:
            note("told", key)
            raise

    @app.task
    async def ahold(key, seconds=60):
        note("begin", key)
        try:
            await asyncio.sleep(seconds)
            note("end", key)
        finally:
            note("left", key)
    """

pytestmark = pytest.mark.timeout(240)


def two_slots(pool: str) -> tuple[str, ...]:
    """The options of a node that executes two tasks at a time, in one process where the pool shares it."""
    return ("--pool", pool, "--concurrency", "2")


def begun(app: Scratch, key: str) -> None:
    eventually(lambda: f"begin {key}" in app.lines(), 60)


def outcome(app: Scratch, task_id: str) -> str:
    """How a task ended, by its stored result."""
    return app.python(
        f"""
        import tasks
        result = tasks.app.AsyncResult({task_id!r})
        error = result.get(timeout=60, propagate=False)
        print(result.state, type(error).__name__)
        """
    ).strip()


@pytest.mark.parametrize(
    ("pool", "task"), [("processes", "hold"), ("threads", "hold"), ("asyncio", "ahold"), ("gevent", "hold")]
)
def test_a_task_is_terminated_and_its_neighbour_and_the_node_go_on(scratch: MakeScratch, pool: str, task: str) -> None:
    app = scratch(TASKS, CONFIG)
    with fleet(app, "one@h", options=two_slots(pool)) as nodes:
        ended, other = nodes.call(f"tasks.{task}", "ended"), nodes.call(f"tasks.{task}", "other", 20)
        begun(app, "ended")
        begun(app, "other")
        assert nodes.ask("control", "terminate", "TERM", ended)["one@h"] == {"ok": f"terminate: {ended}"}
        assert outcome(app, ended) == "REVOKED TaskRevoked"
        assert nodes.ask("control", "terminate", "KILL", "nowhere")["one@h"] == {"ok": "terminate: tasks unknown"}
        assert outcome(app, other) == "SUCCESS NoneType"
        assert app.python("import tasks; print(tasks.add.delay(1, 2).get(timeout=60))") == "3\n"
        assert nodes.ask("inspect", "active") == {"one@h": []}
    assert "end ended" not in app.lines()
    assert "end other" in app.lines()


STEER = """
    import json, sys, time
    import tasks

    node = tasks.app.control.to("one@h", timeout=30)
    look = tasks.app.control.inspect(["one@h"], timeout=30)

    def said(answers):
        return list(answers["one@h"].values())[0]

    def begun(key):
        while f"begin {key}" not in open(tasks.JOURNAL).read().splitlines():
            time.sleep(0.05)

    tasks.add.delay(0, 0).get(timeout=60)
    told = tasks.hold.delay("signal")
    begun("signal")
    found = {"USR1": said(node.terminate(told.id, signal="USR1", reply=True)) == f"terminate: {told.id}"}
    found["told"] = repr(told.get(timeout=60, propagate=False))
    found["limit"] = said(node.time_limit("tasks.hold", soft=0.5))
    found["limited"] = repr(tasks.hold.delay("limit").get(timeout=60, propagate=False))
    found["hard"] = said(node.time_limit("tasks.hold", soft=1, hard=100))

    node.pause("lo")
    waiting = tasks.add.delay(1, 2)
    node.add_consumer("extra")
    found["queues"] = [queue["name"] for queue in look.active_queues()["one@h"]]
    found["extra"] = tasks.add.apply_async((3, 4), queue="extra").get(timeout=60)
    found["while paused"] = open(tasks.JOURNAL).read().count("add 1 2")
    node.cancel_consumer("extra")
    tasks.add.apply_async((5, 6), queue="extra")
    node.resume("lo")
    found["resumed"] = waiting.get(timeout=60)
    found["cancelled"] = open(tasks.JOURNAL).read().count("add 5 6")
    found["twice"] = said(node.cancel_consumer("extra"))
    found["signal"] = said(node.terminate("x", signal="TREM", reply=True))
    print(json.dumps(found))
    """


@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio"])
def test_limits_signals_and_queues_are_set_in_every_pool(scratch: MakeScratch, pool: str) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-n", "one@h", *two_slots(pool)):
        found = json.loads(app.python(STEER))
    assert found["USR1"]
    assert all("SoftTimeLimitExceeded" in found[name] for name in ("told", "limited"))
    assert {"told signal", "told limit"} <= set(app.lines())
    assert found["limit"] == "time limits set successfully"
    refused = f"a hard limit ends a process, and the tasks of pool {pool} share one; set a soft limit only"
    assert found["hard"] == (found["limit"] if pool == "processes" else refused)
    assert found["queues"] == ["hi", "lo", "extra"]
    assert (found["while paused"], found["extra"], found["resumed"], found["cancelled"]) == (0, 7, 3, 0)
    assert "'extra' is not consumed here" in found["twice"]
    assert found["signal"].startswith("there is no signal 'TREM'")


def test_a_solo_pool_says_what_it_cannot_do(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with fleet(app, "one@h", options=("--pool", "solo")) as nodes:
        for words in (("pool_grow", "1"), ("pool_shrink", "1"), ("autoscale", "3", "1")):
            assert nodes.ask("control", *words, code=1) == {"one@h": {"error": "a solo pool has one process"}}


def test_the_number_of_processes_follows_the_load_between_its_bounds(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with fleet(app, "one@h", options=("--pool", "threads", "--processes", "1", "--concurrency", "1")) as nodes:
        assert nodes.ask("control", "autoscale", "2", "1")["one@h"] == {"ok": "autoscale now max=2 min=1"}
        refused = nodes.ask("control", "pool_grow", "1", code=1)["one@h"]["error"]
        assert refused == "the pool is autoscaled; it cannot grow by hand"
        app.python("import tasks\nwith tasks.app.batch():\n  for n in range(4): tasks.hold.delay(n, 9)\n")
        eventually(lambda: processes(nodes) == 2, 60)
        assert nodes.ask("inspect", "stats")["one@h"]["autoscaler"]["max"] == 2
        eventually(lambda: processes(nodes) == 1, 120)  # one is stopped when it had nothing to do for thirty seconds
        assert sum(line.startswith("end") for line in app.lines()) == 4


def processes(nodes: Fleet) -> int:
    """How many there are that take tasks."""
    return len([item for item in nodes.ask("inspect", "processes")["one@h"] if item["state"] != "stopping"])
