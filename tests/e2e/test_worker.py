"""The worker as its users run it: the command, a real broker, and what comes out."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task
    def add(a, b):
        note("add", a, b)
        return a + b

    @app.task
    def hi_echo(value):
        note("echo", value)
        return value

    @app.task(bind=True, max_retries=2)
    def flaky(self, key):
        note("try", key, self.request.retries)
        raise self.retry(countdown=0.1, exc=ValueError("not yet"))

    @app.task(dead_letter=True)
    def broken(key):
        raise RuntimeError(f"cannot do {key}")

    @app.task
    def rejecting(requeue):
        note("rejecting")
        raise Reject("no thanks", requeue=requeue)

    @app.task
    def ignoring():
        note("ignoring")
        raise Ignore()

    @app.task
    def slow(seconds, key):
        note("begin", key)
        time.sleep(seconds)
        note("end", key)

    @app.task(acks_late=False)
    def early(key):
        note("early", key)
        os.kill(os.getpid(), signal.SIGKILL)
    """


def test_a_task_sent_by_key_is_run_and_its_result_comes_back(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-Q", "hi,lo", "-c", "2") as worker:
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=30))") == "5\n"
        assert app.python("import tasks; print(tasks.hi_echo.delay({'a': [1]}).get(timeout=30))") == "{'a': [1]}\n"
        assert worker.stop() == 0
    assert sorted(app.lines()) == ["add 2 3", "echo {'a': [1]}"]


def test_the_banner_shows_app_broker_queues_concurrency_and_tasks_and_no_password(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-Q", "hi", "-c", "3", "-n", "mynode") as worker:
        worker.stop()
    text = worker.output()
    assert "mynode" in text
    assert "3 processes" in text
    assert "queues   hi\n" in text
    assert "tasks.add, " in text
    assert "guest:***@" in text
    assert "guest:guest" not in text


def test_log_lines_can_be_json_objects(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("--log-format", "json", "-c", "1") as worker:
        task_id = app.run("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]").stdout.strip()
        worker.wait_for('"action": "success"')
        worker.stop()
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    found = [line for line in lines if line.get("action") == "success"]
    assert [(line["task"], line["task_id"], line["level"]) for line in found] == [("tasks.add", task_id, "info")]


def test_a_retried_task_runs_again_until_its_retries_are_used_up(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        code = "import tasks; r = tasks.flaky.delay('k'); print(repr(r.get(propagate=False, timeout=60)), r.state)"
        assert app.python(code) == "ValueError('not yet') FAILURE\n"
    assert app.lines() == ["try k 0", "try k 1", "try k 2"]


def test_a_failure_that_asks_for_it_becomes_a_dead_letter_with_its_error(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.run("call", "-A", "tasks:app", "tasks.broken", "-a", '["x"]')
        dead = eventually(lambda: dead_letters(app, "lo.dlq"))
    assert dead[0]["x-aqt-death-reason"] == "failed"
    assert dead[0]["x-aqt-death-error"] == "RuntimeError"
    assert dead[0]["x-aqt-death-detail"] == "cannot do x"
    assert dead[0]["x-aqt-death-queue"] == "lo"
    assert dead[0]["x-aqt-death-routing-key"] == "lo.tasks.broken"
    first_frame = dead[0]["x-aqt-death-traceback"].splitlines()[1]
    assert first_frame.endswith("in broken"), "the traceback starts in the user's code, not in ours"


def test_a_rejected_task_goes_to_the_dead_letters(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.run("call", "-A", "tasks:app", "tasks.rejecting", "-a", "[false]")
        dead = eventually(lambda: dead_letters(app, "lo.dlq"))
    assert (dead[0]["x-aqt-death-reason"], dead[0]["x-aqt-death-detail"]) == ("rejected", "no thanks")


def test_a_rejected_task_that_asks_for_it_comes_again(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.run("call", "-A", "tasks:app", "tasks.rejecting", "-a", "[true]")
        eventually(lambda: len(app.lines()) >= 3)


def test_an_ignored_task_is_acknowledged(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        app.run("call", "-A", "tasks:app", "tasks.ignoring")
        worker.wait_for("was ignored")
        worker.stop()
    assert depth(app, "lo") == 0


def test_messages_that_are_no_tasks_go_to_the_dead_letters_with_the_reason_and_the_worker_lives_on(
    scratch: MakeScratch,
) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.python(
            """
            import tasks
            from amqtask.core.message import Envelope
            from amqtask.ticket import Ticket
            import time
            good = {"task": "tasks.add", "id": "x1"}
            json = {"content_type": "application/json", "content_encoding": "utf-8"}
            for envelope in (
                Envelope(body=b"[[1, 2", headers=good, **json),
                Envelope(body=b"x", headers=good, content_type="application/x-python-serialize"),
                Envelope(body=b"[[1,2],{},{}]", headers={"task": "tasks.nobody", "id": "x2"}, **json),
                Envelope(body=b"[[1,2],{},{}]", headers={"task": ["a", "list"], "id": "x3"}, **json),
                Envelope(body=b"[[1,2],{},{}]", headers={}, **json),
            ):
                tasks.app.publisher.publish(Ticket(envelope, "tasks", "lo.x", deadline=time.monotonic() + 20))
            """
        )
        dead = eventually(lambda: found if len(found := dead_letters(app, "lo.dlq")) == 5 else None)
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=30))") == "5\n"
    reasons = sorted(str(headers["x-aqt-death-reason"]) for headers in dead)
    assert reasons == ["content-refused", "malformed", "undecodable", "undecodable", "unknown-task"] or reasons == [
        "content-refused",
        "malformed",
        "malformed",
        "undecodable",
        "unknown-task",
    ]


def test_sigterm_finishes_what_runs_hands_the_rest_back_and_exits_with_0(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1", "--prefetch", "10") as worker:
        app.python("import tasks\nfor k in range(5): tasks.slow.delay(2, k)")
        eventually(lambda: "begin 0" in app.lines())
        assert worker.stop() == 0
    assert app.lines() == ["begin 0", "end 0"]
    assert depth(app, "lo") == 4


def test_a_second_signal_stops_now_and_what_ran_goes_back_to_its_queue(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        app.python("import tasks; tasks.slow.delay(120, 'x')")
        eventually(lambda: "begin x" in app.lines())
        worker.signal(signal.SIGINT)
        worker.wait_for("once more to stop now")
        worker.signal(signal.SIGINT)
        assert worker.wait() == 0
    assert depth(app, "lo") == 1


def test_a_killed_process_is_replaced_and_its_task_runs_again(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        app.python("import tasks; tasks.slow.delay(3, 'x')")
        eventually(lambda: "begin x" in app.lines())
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        eventually(lambda: "end x" in app.lines())
        worker.wait_for(r"died \(signal SIGKILL\) while it executed tasks.slow\[")
        assert worker.stop() == 0
    assert app.lines() == ["begin x", "begin x", "end x"]
    assert depth(app, "lo") == 0


def test_a_task_acknowledged_early_is_not_run_again_when_its_process_dies(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        app.run("call", "-A", "tasks:app", "tasks.early", "-a", '["x"]')
        worker.wait_for("died")
        assert app.python("import tasks; print(tasks.add.delay(2, 3).get(timeout=30))") == "5\n"
        worker.stop()
    assert app.lines() == ["early x", "add 2 3"]


def test_a_child_whose_supervisor_is_killed_stops_too(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        (child,) = worker.children()
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda: not alive(child), 60, "the child outlived its supervisor")


def test_a_forked_process_publishes_over_a_connection_of_its_own(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.python(
            """
            import os
            import tasks
            tasks.add.delay(1, 1)
            pid = os.fork()
            tasks.add.delay(2 if pid else 3, 1)
            if pid == 0:
                tasks.app.close()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            """
        )
        eventually(lambda: sorted(app.lines()) == ["add 1 1", "add 2 1", "add 3 1"])


def test_threads_share_an_app(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    out = app.python(
        """
        import threading
        import tasks
        def send():
            for n in range(50):
                tasks.add.delay(n, n)
        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print("sent")
        """
    )
    assert out == "sent\n"
    assert depth(app, "lo") == 400


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def depth(app: Scratch, queue: str) -> int:
    """How many messages are ready in a queue, asked of the broker once nobody holds any."""
    return int(
        app.python(
            f"""
            import tasks
            from amqtask.core.declare import DeclareQueue
            from amqtask.drivers.base import QuietSink
            options = tasks.app.session_options
            connection = options.driver.connect(options.addresses[0], 10)
            channel = connection.channel(QuietSink(), confirms=False)
            print(channel.declare(DeclareQueue(name={queue!r}, passive=True)).messages)
            connection.close()
            """
        )
    )


def dead_letters(app: Scratch, queue: str) -> list[dict[str, object]]:
    """The headers of what is in a dead-letter queue; nothing is taken out for good."""
    code = f"""
        import json, sys, time
        import tasks
        from amqtask.drivers.base import QuietSink
        class Sink(QuietSink):
            found = []
            def delivered(self, delivery):
                self.found.append(delivery.envelope.headers)
        options = tasks.app.session_options
        connection = options.driver.connect(options.addresses[0], 10)
        sink = Sink()
        channel = connection.channel(sink, confirms=False)
        channel.qos(100)
        channel.consume({queue!r}, no_ack=False, exclusive=False, arguments={{}})
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            connection.poll(0.1)
        connection.close()
        print(json.dumps(sink.found, default=str))
        """
    found: list[dict[str, object]] = json.loads(app.python(code))
    return found


def test_the_version_is_that_of_the_package(scratch: MakeScratch) -> None:
    done = subprocess.run([sys.executable, "-m", "amqtask", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == "amqtask 0.1.0\n"
