"""Remote control of two nodes of two processes each, as operators do it."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.e2e.conftest import CONFIG
from tests.support.eventually import eventually
from tests.support.program import RunningWorker, Scratch

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task
    def add(a, b):
        note("add", a, b)
        return a + b

    @app.task
    def hi_sleep(seconds, key):
        note("begin", key)
        time.sleep(seconds)
        note("end", key)

    @app.task
    def burn(seconds):
        note("burn")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    @app.task(ignore_result=True)
    def tick(number):
        note("tick", time.time(), number)
    """


class Fleet:
    """Two nodes, and the command line."""

    def __init__(self, app: Scratch, workers: dict[str, RunningWorker]) -> None:
        self.app = app
        self.workers = workers

    def ask(self, *words: str, code: int = 0, expect: int | None = None) -> dict[str, Any]:
        """`amqtask inspect …` or `control …`, as JSON."""
        count = ("-n", str(expect or len(self.workers)))
        done = self.app.run(*words, *count, "--json", "-t", "10", "-A", "tasks:app")
        assert done.returncode == code, done.stderr + done.stdout
        answers: dict[str, Any] = json.loads(done.stdout)
        return answers

    def call(self, name: str, *args: object) -> str:
        """Send a task; its id."""
        done = self.app.run("call", "-A", "tasks:app", name, "-a", json.dumps(args))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def fleet(app: Scratch, *names: str, options: tuple[str, ...] = ()) -> Iterator[Fleet]:
    """Nodes of two processes each, ready."""
    with ExitStack() as stack:
        workers = {}
        for name in names:
            workers[name] = stack.enter_context(app.worker("-c", "2", "-n", name, *options, ready=False))
        for worker in workers.values():
            worker.wait_for("ready ")
        yield Fleet(app, workers)


def test_nodes_answer_what_they_are_asked(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", "two@h") as nodes:
        assert nodes.ask("inspect", "ping") == {"one@h": {"ok": "pong"}, "two@h": {"ok": "pong"}}
        assert nodes.ask("inspect", "ping", "-d", "two@h", expect=1).keys() == {"two@h"}
        assert nodes.ask("inspect", "ping", "--pattern", "on*", expect=1).keys() == {"one@h"}
        registered = nodes.ask("inspect", "registered")["one@h"]
        assert "tasks.add" in registered
        stats = nodes.ask("inspect", "stats")["two@h"]
        assert len(stats["pool"]["processes"]) == 2
        assert [queue["name"] for queue in nodes.ask("inspect", "active_queues")["one@h"]] == ["hi", "lo"]
        conf = json.dumps(nodes.ask("inspect", "conf", "with_defaults=true")["one@h"])
        assert "guest:***@" in conf
        assert "guest:guest" not in conf
        table = app.run("status", "-n", "2", "-A", "tasks:app").stdout
        assert "one@h" in table
        assert "2 nodes" in table


def test_what_cannot_be_done_is_an_answer_that_names_it(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        said = nodes.ask("control", "rate_limit", "tasks.nope", "1/s", code=1)["one@h"]["error"]
        assert "'tasks.nope'" in said
        said = nodes.ask("control", "rate_limit", "tasks.add", "often", code=1)["one@h"]["error"]
        assert "'often'" in said
        said = nodes.ask("control", "dance", code=1)["one@h"]["error"]
        assert "'dance'" in said
        said = nodes.ask("control", "add_consumer", "nowhere", code=1)["one@h"]["error"]
        assert "'nowhere'" in said


def test_nobody_there_is_exit_code_69_at_once(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    done = app.run("inspect", "ping", "-t", "60", "-A", "tasks:app", timeout=50)
    assert done.returncode == 69
    assert "no node answered" in done.stderr


def test_nodes_answer_while_all_their_slots_burn_and_while_a_process_is_stopped(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        for _ in range(2):
            nodes.call("tasks.burn", 30)
        eventually(lambda: app.lines() == ["burn"] * 2, 30)
        asked = time.monotonic()
        active = app.python(
            "import json, tasks, time; i = tasks.app.control.inspect(limit=1); i.ping(); t = time.monotonic();"
            "a = i.active(); print(json.dumps([time.monotonic() - t, a]))"
        )
        seconds, answers = json.loads(active)
        assert len(answers["one@h"]) == 2, asked
        assert seconds < 1.0
        stopped = nodes.workers["one@h"].children()[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            answers = nodes.ask("inspect", "active")["one@h"]
            assert {item["worker_pid"] for item in answers} == set(nodes.workers["one@h"].children())
            states = {item["pid"]: item["state"] for item in nodes.ask("inspect", "processes")["one@h"]}
            assert states[stopped] == "stopped"
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_a_revoked_task_is_not_run_and_one_that_runs_is_ended(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", options=("-Q", "hi,lo")) as nodes:
        running = [nodes.call("tasks.hi_sleep", 60, f"long{n}") for n in range(2)]
        eventually(lambda: len(app.lines()) == 2, 30)
        waiting = nodes.call("tasks.add", 1, 2)
        nodes.ask("control", "revoke", waiting)
        said = nodes.ask("control", "revoke", running[0], "--terminate")["one@h"]
        assert said == {"ok": f"terminate: {running[0]}"}
        app.python("import tasks; tasks.add.delay(3, 4)")
        eventually(lambda: "add 3 4" in app.lines(), 30)
        assert "add 1 2" not in app.lines()
        assert "end long0" not in app.lines()
        assert [item["id"] for item in nodes.ask("inspect", "active")["one@h"]] == [running[1]]


def test_a_paused_queue_stays_paused_and_a_revoked_task_revoked_on_a_node_that_starts_later(
    scratch: MakeScratch,
) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        nodes.ask("control", "pause", "lo")
        revoked = nodes.call("tasks.hi_sleep", 0, "revoked")
        nodes.ask("control", "revoke", "some-id")
        nodes.ask("control", "rate_limit", "tasks.tick", "7/m", "--persist")
        nodes.ask("control", "time_limit", "tasks.tick", "3")
        assert revoked
        assert nodes.workers["one@h"].stop() == 0
    app.python("import tasks; tasks.add.delay(1, 2)")
    with fleet(app, "two@h") as nodes:
        held = nodes.ask("control", "state")["two@h"]
        assert set(held) == {"pause:lo", "revoke:some-id", "rate_limit:tasks.tick"}
        nodes.call("tasks.hi_sleep", 0, "other queue")
        eventually(lambda: "end other queue" in app.lines(), 30)
        assert "add 1 2" not in app.lines()
        nodes.ask("control", "forget", "rate_limit:tasks.tick")
        nodes.ask("control", "resume", "lo")
        eventually(lambda: "add 1 2" in app.lines(), 30)
        assert set(nodes.ask("control", "state")["two@h"]) == {"revoke:some-id"}


def test_a_rate_limit_holds_for_the_node_and_others_overtake(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        nodes.ask("control", "rate_limit", "tasks.tick", "5/s")
        app.python("import tasks\nwith tasks.app.batch():\n  for n in range(20): tasks.tick.delay(n)\n")
        app.python("import tasks; assert tasks.add.delay(1, 2).get(timeout=30) == 3")
        assert sum(line.startswith("tick") for line in app.lines()) < 20
        eventually(lambda: sum(line.startswith("tick") for line in app.lines()) == 20, 60)
        ticks = sorted(float(line.split()[1]) for line in app.lines() if line.startswith("tick"))
        # Starts are granted 0.2 s apart; a busy machine may be late with some.
        assert ticks[-1] - ticks[0] > 19 * 0.2 - 1.0


def test_pools_grow_shrink_and_are_restarted(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:

        def pids() -> set[int]:
            found = nodes.ask("inspect", "processes")["one@h"]
            return {item["pid"] for item in found if item["state"] in ("idle", "busy")}

        before = pids()
        nodes.ask("control", "pool_grow", "1")
        eventually(lambda: len(pids()) == 3, 60)
        nodes.ask("control", "pool_shrink", "1")
        eventually(lambda: pids() == before, 60)
        nodes.ask("control", "pool_restart")
        eventually(lambda: len(pids()) == 2 and not pids() & before, 60)
        assert nodes.ask("control", "pool_shrink", "2", code=1)["one@h"]["error"]


def test_shutdown_ends_the_nodes_that_are_named(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", "two@h") as nodes:
        nodes.ask("control", "shutdown", "-d", "one@h", expect=1)
        assert nodes.workers["one@h"].wait() == 0
        assert nodes.ask("inspect", "ping", expect=1).keys() == {"two@h"}


def test_a_flood_of_commands_neither_stops_tasks_nor_makes_the_node_grow(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        pid = nodes.workers["one@h"].pid
        before = _resident(pid)
        app.python(
            "import tasks\nfor n in range(10_000): tasks.app.control.broadcast('active')\n"
            "assert tasks.add.delay(1, 2).get(timeout=60) == 3\n"
            "print(tasks.app.control.inspect(timeout=60, limit=1).ping())"
        )
        assert _resident(pid) - before < 30 * 2**20


def test_with_a_secret_only_signed_commands_are_obeyed(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", options=("--set", "control.secret=opensesame")) as nodes:
        unsigned = app.run("inspect", "ping", "-t", "2", "-A", "tasks:app")
        assert unsigned.returncode == 69
        signed = app.run("inspect", "ping", "-n", "1", "-A", "tasks:app", "--set", "control.secret=opensesame")
        assert signed.stdout == "one@h: pong\n"
        assert "opensesame" not in nodes.workers["one@h"].output()


def test_python_can_wait_or_await(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", "two@h"):
        out = app.python(
            """
            import asyncio
            import tasks
            control = tasks.app.control
            print(sorted(control.inspect(limit=2).ping()))
            print(control.to("one@h").rate_limit("tasks.add", "9/s"))
            async def main():
                print(await control.ainspect(["two@h"]).ping())
                print(await control.asynchronously.to("one@h").pool_grow(0))
            asyncio.run(main())
            result = tasks.hi_sleep.delay(60, "x")
            result.revoke(terminate=True)
            """
        )
    lines = out.splitlines()
    assert lines[0] == "['one@h', 'two@h']"
    assert lines[1] == "{'one@h': {'ok': 'new rate limit set successfully'}}"
    assert lines[2] == "{'two@h': {'ok': 'pong'}}"


def test_what_waits_is_purged(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    out = app.python(
        """
        import tasks
        from amqtask.errors import UnknownQueue
        control = tasks.app.control
        print(control.purge())  # there are no queues yet
        for n in range(3):
            tasks.add.delay(n, n)
        tasks.hi_sleep.delay(0, "x")
        print(control.purge("hi"), control.discard_all(), control.purge())
        try:
            control.purge("hig")
        except UnknownQueue as error:
            print(error)
        """
    )
    assert out.splitlines() == [
        "0",
        "1 3 0",
        "no queue 'hig' is declared; the configuration has: hi, lo, hi.dlq, lo.dlq",
    ]


@pytest.mark.timeout(240)
def test_a_node_answers_again_when_the_broker_is_back(scratch: MakeScratch, node: Any) -> None:
    app = scratch(TASKS, url=node.fresh_vhost())
    with fleet(app, "one@h") as nodes:
        node.restart()
        eventually(lambda: app.run("inspect", "ping", "-n", "1", "-A", "tasks:app").stdout == "one@h: pong\n", 120)
        assert nodes.ask("inspect", "ping")


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


OWN = (
    TASKS
    + """
    @app.inspect_command
    def cache_size(unit: str = "items"):
        \"\"\"How much is cached.\"\"\"
        return {"size": 7, "unit": unit, "pid": os.getpid()}

    @app.control_command(name="warm_up")
    def warm(count: int, deep: bool = False):
        \"\"\"Fill the cache.\"\"\"
        note("warmed", count, deep)
        return "warmed"
    """
)


def test_own_commands_are_listed_and_called_by_typed_arguments(scratch: MakeScratch) -> None:
    app = scratch(OWN)
    listed = app.run("control", "--list", "-A", "tasks:app").stdout
    assert "warm_up COUNT [DEEP]" in listed
    assert "Fill the cache." in listed
    with fleet(app, "one@h") as nodes:
        pids = nodes.workers["one@h"].children()
        found = nodes.ask("inspect", "cache_size", "bytes")["one@h"]
        assert (found["size"], found["unit"], found["pid"] in pids) == (7, "bytes", True)
        assert nodes.ask("control", "warm_up", "3", "deep=true")["one@h"] == "warmed"
        assert app.lines() == ["warmed 3 True"] * 2  # both processes
        said = nodes.ask("control", "warm_up", "many", code=1)["one@h"]["error"]
        assert "count is a whole number" in said


def test_senders_tell_of_what_they_sent_where_that_is_wanted(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG + "events: {sent: true}\n")
    said = app.python(
        """
        import tasks
        with tasks.app.events.receiver() as receiver:
            while not (event := receiver.next(timeout=0.5)):
                sent = tasks.add.delay(1, 2)
            print(event["type"], event["name"], event["args"], event["queue"], event["exchange"], event["routing_key"])
        """
    )
    assert said == "task-sent tasks.add (1, 2) lo tasks lo.tasks.add\n"


def test_events_of_tasks_can_be_turned_on_while_the_node_runs(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h") as nodes:
        nodes.ask("control", "enable_events")
        said = app.python(
            """
            import json, tasks
            seen = []
            with tasks.app.events.receiver(handlers={"task-*": seen.append}) as receiver:
                while receiver.next(30)["type"] != "worker-heartbeat":
                    pass
                assert tasks.add.delay(1, 2).get(timeout=30) == 3
                while not seen or seen[-1]["type"] != "task-succeeded":
                    assert receiver.capture(limit=1, timeout=30)
            print(json.dumps(seen))
            """
        )
        events = json.loads(said)
        assert [event["type"] for event in events] == ["task-received", "task-started", "task-succeeded"]
        assert (events[0]["name"], events[0]["args"], events[2]["result"]) == ("tasks.add", "(1, 2)", "3")
        assert {event["hostname"] for event in events} == {"one@h"}
        nodes.ask("control", "disable_events")
        dump = app.run("events", "--filter", "task-*", "--timeout", "1", "-A", "tasks:app")
        assert dump.stdout == ""
