"""The real Celery and amqtask run each other's tasks over one broker."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.program import Scratch

CONFIG = """
    exchanges:
      shared: {type: direct}
    queues:
      ours: {bind: ["shared[ours]"]}
      theirs: {type: classic, dead_letter: false, bind: ["shared[theirs]"]}
    routes:
      - {task: "celery.*", exchange: shared, key: theirs}
    tasks: {default_queue: ours}
    """

TASKS = """
    @app.task(name="ours.add")
    def add(a, b=1):
        note("ours", a, b)
        return a + b

    @app.task(name="ours.fail")
    def fail():
        raise ValueError("on purpose")
    """

CELERY = """
import os
from celery import Celery
from kombu import Exchange, Queue

app = Celery("theirs", broker=os.environ["BROKER"], backend="rpc://")
app.conf.task_queues = [
    Queue("theirs", Exchange("shared", "direct"), "theirs", queue_arguments={"x-queue-type": "classic"})
]
app.conf.task_default_queue = "theirs"
app.conf.worker_enable_remote_control = False

@app.task(name="celery.multiply")
def multiply(a, b):
    return a * b
"""


@pytest.fixture
def both(tmp_path: Path, vhost: str) -> tuple[Scratch, Callable[[str], str]]:
    """An app of ours, and what runs a script that may `import theirs`."""
    scratch = Scratch(tmp_path, vhost, CONFIG, TASKS)
    (tmp_path / "theirs.py").write_text(CELERY)
    scratch.environment["BROKER"] = vhost
    return scratch, scratch.python


def test_a_celery_client_sends_to_our_worker_and_reads_its_result(
    both: tuple[Scratch, Callable[[str], str]],
) -> None:
    scratch, run = both
    with scratch.worker("-Q", "ours", "-c", "1"):
        out = run(
            """
            import theirs
            def send(name, *args, **kwargs):
                return theirs.app.send_task(name, args, kwargs, exchange="shared", routing_key="ours")
            print(send("ours.add", 2, b=3).get(timeout=40))
            print(send("ours.add", 5).get(timeout=40))
            try:
                send("ours.fail").get(timeout=40)
            except ValueError as error:
                print(repr(error))
            """
        )
    assert out == "5\n6\nValueError('on purpose')\n"
    assert scratch.lines() == ["ours 2 3", "ours 5 1"]


def test_our_client_sends_to_a_celery_worker_and_reads_its_result(
    both: tuple[Scratch, Callable[[str], str]],
) -> None:
    scratch, run = both
    scratch.run("topology", "apply")
    command = ["-m", "celery", "-A", "theirs", "worker", "-Q", "theirs", "-P", "solo", "-l", "info", "--without-mingle"]
    log = scratch.folder / "celery.log"
    with log.open("w") as output:
        worker = subprocess.Popen(
            [sys.executable, *command, "--without-gossip"],
            cwd=scratch.folder,
            env=scratch.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            eventually(lambda: " ready." in log.read_text(), 90, log.read_text)
            out = run("import tasks; print(tasks.app.send_task('celery.multiply', (6, 7)).get(timeout=40))")
        finally:
            worker.terminate()
            worker.wait(60)
    assert out == "42\n"
