"""A broker that takes no messages, loses a queue or a channel, or vanishes without a word: what runs goes on."""

import os
import signal
from collections.abc import Callable

import pytest

from amqtask.core.declare import DeleteQueue
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG = """
      heartbeat: 2s
    queues:
      lo: {}
    tasks: {default_queue: lo}
    """

TASKS = """
    @app.task
    def add(a, b):
        note("add", a, b)
        return a + b

    @app.task(ignore_result=True)
    def slow(seconds, key):
        note("begin", key, os.getpid())
        time.sleep(seconds)
        note("end", key, os.getpid())
    """

SEND = "import tasks; tasks.slow.delay({}, {!r})"


def ended(app: Scratch, key: str) -> list[str]:
    return [line for line in app.lines() if line.startswith(f"end {key} ")]


def test_a_publisher_waits_while_the_broker_is_blocked_and_says_so_when_its_time_is_up(
    scratch: MakeScratch, node: Node
) -> None:
    app = scratch(TASKS, CONFIG, url=node.fresh_vhost())
    node.set_alarm()
    out = app.python(
        """
        import tasks
        from amqtask import PublishTimeout
        tasks.app.configure(overrides=["results.backend='null'"])
        for _ in range(2):
            try:
                tasks.add.apply_async((1, 2), timeout=3)
            except PublishTimeout as error:
                print(error)
        """
    )
    assert "low on memory" in out, out


def test_a_worker_goes_on_while_publishers_are_blocked_and_results_follow_afterwards(
    scratch: MakeScratch, node: Node
) -> None:
    app = scratch(TASKS, CONFIG, url=node.fresh_vhost())
    app.python("import tasks\nfor n in range(20): tasks.slow.delay(0.2, str(n))")
    with app.worker("-c", "1") as worker:
        eventually(lambda: len(app.lines()) > 2)
        node.set_alarm()
        eventually(lambda: len([line for line in app.lines() if line.startswith("end")]) == 20, 60)
        node.clear_alarm()
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=30))") == "5\n"
        assert worker.stop() == 0


def test_a_queue_that_is_deleted_under_its_consumer_is_declared_and_consumed_again(
    scratch: MakeScratch, node: Node
) -> None:
    url = node.fresh_vhost()
    app = scratch(TASKS, CONFIG, url=url)
    with app.worker("-c", "1") as worker:
        with Queues(url) as queues:
            queues.do(DeleteQueue(name="lo"))
        worker.wait_for("the broker cancelled the consumer of 'lo'")
        worker.wait_for("consuming 'lo' again")
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=30))") == "5\n"
        assert worker.stop() == 0


def test_a_task_whose_connection_is_closed_while_it_runs_is_not_run_twice_in_its_process(
    scratch: MakeScratch, node: Node
) -> None:
    app = scratch(TASKS, CONFIG, url=node.fresh_vhost())
    with app.worker("-c", "1") as worker:
        app.python(SEND.format(8, "x"))
        eventually(lambda: len(app.lines()) == 1)
        worker.wait_for("ready ")
        node.close_connections()
        worker.wait_for("lost the connection")
        worker.wait_for("came again while it runs", 60)
        eventually(lambda: ended(app, "x"), 60)
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=60))") == "5\n"
        assert worker.stop() == 0
    assert len([line for line in app.lines() if line.startswith("begin x")]) == 1


def test_a_frozen_process_loses_its_task_to_another_and_settles_nothing_when_it_wakes(
    scratch: MakeScratch, node: Node
) -> None:
    app = scratch(TASKS, CONFIG, url=node.fresh_vhost())
    with app.worker("-c", "2") as worker:
        app.python(SEND.format(5, "x"))
        eventually(lambda: len(app.lines()) == 1)
        frozen = int(app.lines()[0].split()[2])
        os.kill(frozen, signal.SIGSTOP)
        try:
            eventually(lambda: ended(app, "x"), 90, "no other process took the task over")
            assert f"end x {frozen}" not in app.lines()
        finally:
            os.kill(frozen, signal.SIGCONT)
        worker.wait_for("ended after the broker had taken its message back", 60)
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=60))") == "5\n"
        assert worker.stop() == 0


def test_a_worker_whose_topology_differs_from_the_brokers_says_where_and_ends(scratch: MakeScratch, node: Node) -> None:
    url = node.fresh_vhost()
    app = scratch(TASKS, CONFIG, url=url)
    app.run("topology", "apply")
    (app.folder / "amqtask.yaml").write_text(
        (app.folder / "amqtask.yaml").read_text().replace("lo: {}", "lo: {max_length: 10}")
    )
    done = app.run("worker", "-A", "tasks:app")
    assert done.returncode == 1
    assert "inequivalent arg 'x-max-length' for queue 'lo'" in done.stderr
