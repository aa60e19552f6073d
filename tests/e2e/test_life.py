"""The life of a worker: reloads, replacements, processes that die again and again, and programs that cannot start."""

import os
import signal
from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    VERSION = "one"

    @app.task
    def version():
        return VERSION

    @app.task
    def mark(number):
        note(number)
        time.sleep(0.005)

    @app.task(ignore_result=True)
    def grow():
        grow.kept = getattr(grow, "kept", []) + [b"x" * 50_000_000]
        note("grown", os.getpid())

    @app.task
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    """

ASK = "import tasks; print(tasks.version.delay().get(timeout=30))"


def test_sighup_replaces_the_processes_with_fresh_code_and_loses_nothing(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        assert app.python(ASK) == "one\n"
        before = set(worker.children())
        app.python("import tasks\nwith tasks.app.batch():\n    for n in range(600): tasks.mark.delay(n)")
        source = (app.folder / "tasks.py").read_text()
        (app.folder / "tasks.py").write_text(source.replace('"one"', '"two and a half"'))
        worker.signal(signal.SIGHUP)
        eventually(lambda: len(worker.children()) == 2 and not before & set(worker.children()), 60)
        assert app.python(ASK) == "two and a half\n"
        eventually(lambda: {int(line) for line in app.lines()} == set(range(600)), 60)
        assert len(app.lines()) == 600, "none ran twice"
        assert worker.stop() == 0


def test_code_that_cannot_be_loaded_anew_leaves_the_old_running(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        good = (app.folder / "tasks.py").read_text()
        (app.folder / "tasks.py").write_text(good + "\nthis is no python\n")
        worker.signal(signal.SIGHUP)
        worker.wait_for("not loaded anew, the old code goes on")
        (app.folder / "tasks.py").write_text(good)
        assert app.python(ASK) == "one\n"
        assert worker.stop() == 0


def test_a_change_of_the_source_is_loaded_when_that_is_asked_for(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1", "--reload") as worker:
        assert app.python(ASK) == "one\n"
        source = (app.folder / "tasks.py").read_text()
        (app.folder / "tasks.py").write_text(source.replace('"one"', '"another one"'))
        worker.wait_for("loaded anew")
        eventually(lambda: app.python(ASK) == "another one\n", 60)
        assert worker.stop() == 0


def test_a_process_that_grew_too_large_is_replaced(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1", "--set", "worker.max_memory_per_child=120MiB") as worker:
        for _ in range(3):
            app.python("import tasks; tasks.grow.delay()")
        eventually(lambda: len(app.lines()) == 3)
        first = int(app.lines()[0].split()[1])
        eventually(lambda: worker.children() and first not in worker.children(), 60)
        assert "died" not in worker.output()
        assert worker.stop() == 0


def test_sigquit_stops_at_once(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        worker.signal(signal.SIGQUIT)
        assert worker.wait() == 0


def test_sigusr1_shows_the_stacks_of_every_process(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        worker.signal(signal.SIGUSR1)
        eventually(lambda: worker.output().count("Current thread") >= 2)
        assert "inline.py" in worker.output()
        assert worker.stop() == 0


def test_processes_that_die_again_and_again_end_the_worker_within_its_budget(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    settings = ["--set", "worker.restart.budget=3", "--set", "worker.restart.initial=0.1s"]
    with app.worker("-c", "1", *settings) as worker:
        app.python("import tasks\nfor n in range(5): tasks.die.apply_async(task_id=str(n))")
        assert worker.wait(90) == 70
        assert "processes died within 60 s; giving up" in worker.output()


def test_a_worker_whose_zygote_is_killed_ends_with_an_error(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker:
        (child,) = worker.children()
        with open(f"/proc/{child}/stat") as stat:
            zygote = int(stat.read().rpartition(")")[2].split()[1])
        os.kill(zygote, signal.SIGKILL)
        assert worker.wait() == 70
        assert "the process that forks the others is gone" in worker.output()


def test_an_app_that_fails_to_import_stops_the_worker_with_its_traceback(scratch: MakeScratch) -> None:
    app = scratch("raise RuntimeError('broken on purpose')")
    done = app.run("worker", "-A", "tasks:app")
    assert done.returncode == 70
    assert "error: importing 'tasks' failed: RuntimeError: broken on purpose" in done.stderr
    assert 'tasks.py", line' in done.stderr


def test_an_app_that_does_not_exist_and_a_wrong_attribute_are_told_apart(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    missing = app.run("worker", "-A", "taks:app")
    assert missing.returncode == 66
    assert "no module 'taks'" in missing.stderr
    wrong = app.run("worker", "-A", "tasks:ap")
    assert wrong.returncode == 66
    assert "module 'tasks' has no 'ap'; did you mean tasks:app?" in wrong.stderr


def test_two_tasks_of_one_name_are_an_error_that_names_both_places(scratch: MakeScratch) -> None:
    app = scratch('@app.task(name="same")\ndef a(): pass\n\n@app.task(name="same")\ndef b(): pass\n')
    done = app.run("worker", "-A", "tasks:app")
    assert done.returncode == 70
    assert "two tasks are named 'same'" in done.stderr
    assert done.stderr.count("tasks.py:") >= 2


def test_an_unknown_queue_is_an_error_that_lists_the_known_ones(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    done = app.run("worker", "-A", "tasks:app", "-Q", "hi,high")
    assert done.returncode == 2
    assert "no queue 'high' is declared; the configuration has: hi, lo" in done.stderr


def test_an_unknown_queue_is_declared_when_that_is_asked_for(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-Q", "extra", "--create-missing-queues", "-c", "1") as worker:
        app.python(
            """
            import time
            import tasks
            from amqtask.core.message import Envelope
            from amqtask.ticket import Ticket
            headers = {"task": "tasks.mark", "id": "x"}
            json = {"content_type": "application/json", "content_encoding": "utf-8"}
            body = Envelope(body=b"[[7],{},{}]", headers=headers, **json)
            tasks.app.publisher.publish(Ticket(body, "", "extra", deadline=time.monotonic() + 20))
            """
        )
        eventually(lambda: app.lines() == ["7"])
        assert worker.stop() == 0


def test_a_broker_that_cannot_be_reached_ends_a_starting_worker(scratch: MakeScratch) -> None:
    app = scratch(TASKS, url="amqp://guest:secret@127.0.0.1:1/")
    done = app.run("worker", "-A", "tasks:app", "--set", "broker.start_timeout=1s")
    assert done.returncode == 69
    assert "cannot reach amqp://guest:***@127.0.0.1:1/" in done.stderr
    assert "start one with" in done.stderr
    assert "secret" not in done.stderr


def test_a_process_has_the_configuration_as_the_app_left_it_but_nothing_that_read_it(scratch: MakeScratch) -> None:
    # The environment counts as it is once the app is imported, although another process reads the file meanwhile.
    app = scratch(
        """
        import sys

        os.environ["BATCH"] = "77"

        @app.task
        def look():
            return app.config.worker.ack_batch, [name for name in ("pydantic", "yaml") if name in sys.modules]
        """,
        config="""
        queues: {work: {}}
        tasks: {default_queue: work}
        worker: {ack_batch: "${BATCH:-1}"}
        """,
    )
    with app.worker("-c", "1") as worker:
        ask = "import tasks; print(tasks.look.delay().get(timeout=30))"
        assert app.python(ask) == "[77, []]\n"
        worker.signal(signal.SIGHUP)
        worker.wait_for("loaded anew")
        assert app.python(ask) == "[77, []]\n"
        assert worker.stop() == 0
