"""`amqtask dlq`: dead letters are seen with their reasons, sent again and thrown away, and none is lost meanwhile."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Envelope
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
      other: {}
    routes:
      - {task: "*", queue: work}
    """

TASKS = """
    class NoPaper(Exception):
        pass

    @app.task(dead_letter=True, max_retries=1, autoretry_for=(NoPaper,), default_retry_delay=0)
    def print_page(key):
        note("print", key)
        if not os.path.exists("paper"):
            raise NoPaper(f"no paper for {key}")

    @app.task
    def reject(key):
        raise Reject("not today")
    """


def dead(app: Scratch, queues: Queues, pages: int, rejected: int = 0) -> None:
    """Have so many tasks die."""
    with app.worker("-c", "1"):
        app.python(
            f"""
            import tasks
            with tasks.app.batch():
                for n in range({pages}): tasks.print_page.delay(n)
                for n in range({rejected}): tasks.reject.delay(n)
            """
        )
        eventually(lambda: queues.depth("work.dlq") == pages + rejected, 60)


def letters(app: Scratch, *arguments: str) -> list[dict[str, Any]]:
    """What `dlq list --json` says."""
    done = app.run("dlq", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_dead_letters_are_listed_by_their_error_and_stay(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=3, rejected=1)
        done = app.run("dlq", "list")
        assert done.returncode == 0, done.stderr
        first, second = [line for line in done.stdout.splitlines() if not line.startswith("        ")]
        assert first.split()[:5] == ["3", "NoPaper", "tasks.print_page", "of", "work"]
        assert second.split()[:3] == ["1", "rejected", "tasks.reject"]
        assert "no paper for 0" in done.stdout
        assert "work.dlq: 4 dead letters" in done.stderr
        for _ in range(25):
            # As often as RabbitMQ 4 would have thrown them away.
            queues.look("work.dlq", 4)
        assert len(letters(app)) == 4


def test_a_dead_letter_shows_its_reason_error_traceback_route_and_time(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=1)
    (letter,) = letters(app)
    done = app.run("dlq", "show", letter["id"][:8])
    assert done.returncode == 0, done.stderr
    assert "NoPaper: no paper for 0" in done.stdout
    assert "in print_page" in done.stdout
    assert "replayed to queue work" in done.stdout
    assert (letter["reason"], letter["queue"], letter["in"], letter["retries"]) == ("failed", "work", "work.dlq", 1)
    assert letter["args"] == "(0,)"
    assert letter["time"].startswith("20")
    missing = app.run("dlq", "show", "nobody")
    assert (missing.returncode, missing.stderr) == (1, "error: no dead letter of a task nobody\n")


def test_replayed_letters_run_again_with_all_their_retries(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=2, rejected=1)
        assert sorted(app.lines()) == ["print 0", "print 0", "print 1", "print 1"]
        done = app.run("dlq", "replay", "--filter", "error=NoP*", "--filter", "task=tasks.*")
        assert (done.returncode, done.stdout) == (0, "2 replayed, 1 did not fit\n"), done.stderr
        eventually(lambda: queues.depth("work.dlq") == 1)
        headers = [dict(delivery.envelope.headers) for delivery in queues.look("work", 2)]
        assert [found["retries"] for found in headers] == [0, 0]
        assert not [name for found in headers for name in found if name.startswith(("x-aqt-death", "x-death"))]
        (app.folder / "paper").touch()
        with app.worker("-c", "1"):
            eventually(lambda: len(app.lines()) == 6)


def test_letters_can_be_sent_elsewhere_no_faster_than_so_and_no_more_than_so_many(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=5)
        done = app.run("dlq", "replay", "--to", "other", "--rate", "20/s", "--limit", "3", "--json")
        assert json.loads(done.stdout) == {"replayed": 3, "passed_over": 0, "failures": []}, done.stderr
        eventually(lambda: (queues.depth("work.dlq"), queues.depth("other")) == (2, 3))


def test_a_letter_that_nobody_takes_stays_and_is_named(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=2)
        done = app.run("dlq", "replay", "--to", "nowhere")
        assert (done.returncode, done.stdout) == (1, "0 replayed\n")
        assert done.stderr.count("no queue takes a message for queue nowhere (312 NO_ROUTE)") == 2
        eventually(lambda: queues.depth("work.dlq") == 2)
        queues.do(DeclareQueue(name="full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}))
        queues.put(Envelope(body=b""), "full")
        assert "refused the message" in app.run("dlq", "replay", "--to", "full").stderr
        eventually(lambda: queues.depth("work.dlq") == 2)


def test_what_the_broker_dead_lettered_by_itself_has_its_reason_too(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG + "  \n")
    assert app.run("topology", "apply").returncode == 0
    with Queues(vhost) as queues:
        queues.put(Envelope(body=b"[[], {}, {}]", headers={"task": "t", "id": "a"}, expiration="1"), "work")
        eventually(lambda: queues.depth("work.dlq") == 1)
        (letter,) = letters(app)
        assert (letter["reason"], letter["queue"], letter["id"]) == ("expired", "work", "a")
        assert app.run("dlq", "replay").returncode == 0
        (again,) = queues.take("work", 1)
        assert again.envelope.expiration is None


def test_letters_are_thrown_away_by_filter_or_altogether(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with Queues(vhost) as queues:
        dead(app, queues, pages=2, rejected=2)
        asked = app.run("dlq", "purge", stdin="n\n")
        assert asked.returncode == 1
        eventually(lambda: queues.depth("work.dlq") == 4)
        done = app.run("dlq", "purge", "--filter", "reason=rejected", "--force")
        assert done.stdout == "2 thrown away, 2 did not fit\n", done.stderr
        eventually(lambda: queues.depth("work.dlq") == 2)
        assert app.run("dlq", "purge", stdin="y\n").stdout == "2 thrown away\n"
        eventually(lambda: queues.depth("work.dlq") == 0)


def test_a_replay_killed_in_the_middle_loses_nothing_and_doubles_one_at_the_most(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(TASKS, CONFIG)
    count = 2500
    fill(app, count)
    with Queues(vhost) as queues:
        for share in (0.2, 0.5):
            process = subprocess.Popen(
                [sys.executable, "-m", "amqtask", "dlq", "replay"],
                cwd=app.folder,
                env=app.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            eventually(partial(holds, queues, "work", share * count), 60)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        eventually(lambda: (queues.depth("work") or 0) + (queues.depth("work.dlq") or 0) >= count, 60)
        assert app.run("dlq", "replay").returncode == 0
        assert queues.depth("work.dlq") == 0
        # RabbitMQ 4 may tell an old number at first.
        eventually(partial(holds, queues, "work", count), 60, lambda: str(queues.depth("work")))
        total = queues.depth("work") or 0
        found = Counter(str(delivery.envelope.headers["id"]) for delivery in queues.take("work", total))
    assert set(found) == {str(n) for n in range(count)}, "none is lost"
    assert total - count <= 2, "each cut doubled one at the most"


def test_many_letters_are_thrown_away_by_filter_and_none_comes_back(scratch: MakeScratch, vhost: str) -> None:
    """RabbitMQ 4 forgets acknowledgements of a quorum queue that are under way when their channel is closed."""
    app = scratch(TASKS, CONFIG)
    fill(app, 2500)
    with Queues(vhost) as queues:
        done = app.run("dlq", "purge", "--filter", "id=*[02468]", "--force")
        assert done.stdout == "1250 thrown away, 1250 did not fit\n", done.stderr
        eventually(partial(holds, queues, "work.dlq", 1250))
        left = {str(delivery.envelope.headers["id"]) for delivery in queues.look("work.dlq", 1250)}
        assert left == {str(n) for n in range(2500) if n % 2}
        eventually(partial(holds, queues, "work.dlq", 1250))


def fill(app: Scratch, count: int) -> None:
    """Put letters of so many tasks, whose ids are their numbers, into the dead-letter queue."""
    app.run("topology", "apply")
    app.python(
        f"""
        import tasks, time
        from amqtask.core.message import Envelope
        from amqtask.ticket import Ticket
        with tasks.app.batch() as batch:
            for n in range({count}):
                headers = {{"task": "t", "id": str(n), "x-aqt-death-reason": "failed", "x-aqt-death-queue": "work"}}
                ticket = Ticket(Envelope(body=b"", headers=headers, correlation_id=str(n)), "", "work.dlq",
                                deadline=time.monotonic() + 60)
                batch.add(ticket, 60.0)
                tasks.app.publisher.send(ticket)
        """
    )


def holds(queues: Queues, queue: str, wanted: float) -> bool:
    """Whether a queue has so many messages."""
    return (queues.depth(queue) or 0) >= wanted


def test_a_filter_that_is_none_is_refused_with_what_there_is(scratch: MakeScratch) -> None:
    done = scratch(TASKS, CONFIG).run("dlq", "list", "--filter", "colour=red")
    assert done.returncode == 2
    assert "write one of id, task, reason, error, detail, queue, node" in done.stderr
