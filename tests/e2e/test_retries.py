"""Retries as Celery's users know them: which errors, how often, after how long, and with what the next attempt runs."""

import itertools
import json
from collections.abc import Callable

from amqtask.core.delay import Relay
from tests.e2e.test_worker import depth
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
      slow: {}
    routes:
      - {task: "*", queue: work}
    content:
      accept: [json, msgpack]
    tasks:
      default_retry_delay: 1s
    """

OUTCOME = "import tasks; r = tasks.{task}.delay({args}); print(repr(r.get(propagate=False, timeout=90)), r.state)"


def outcome(app: Scratch, task: str, args: str = "") -> str:
    """What becomes of a task, as its caller sees it."""
    return app.python(OUTCOME.format(task=task, args=args)).strip()


def test_named_errors_are_retried_by_themselves_and_the_excepted_ones_are_not(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True, autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), max_retries=2,
                  default_retry_delay=0)
        def fetch(self, kind):
            note(kind, self.request.retries)
            raise {"net": ConnectionError, "file": FileNotFoundError, "other": ValueError}[kind](kind)
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        assert outcome(app, "fetch", "'net'") == "ConnectionError('net') FAILURE"
        assert outcome(app, "fetch", "'file'") == "FileNotFoundError('file') FAILURE"
        assert outcome(app, "fetch", "'other'") == "ValueError('other') FAILURE"
    assert app.lines() == ["net 0", "net 1", "net 2", "file 0", "other 0"]


def test_the_waits_of_a_back_off_double_up_to_its_maximum(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True, autoretry_for=(ValueError,), max_retries=3, retry_backoff=1, retry_backoff_max=2,
                  retry_jitter=False)
        def fetch(self):
            note(self.request.retries, time.time())
            raise ValueError("no")
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        assert outcome(app, "fetch") == "ValueError('no') FAILURE"
    times = [float(line.split()[1]) for line in app.lines()]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(waits) == 3
    assert all(wait >= wanted - 0.05 for wait, wanted in zip(waits, (1, 2, 2), strict=True))


def test_a_retry_without_an_error_that_has_no_retries_left_says_so(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True)
        def again(self):
            note(self.request.retries)
            raise self.retry(countdown=0, max_retries=1)
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        assert outcome(app, "again").startswith("MaxRetriesExceeded('tasks.again[")
    assert app.lines() == ["0", "1"]


def test_a_task_without_a_limit_is_retried_until_it_succeeds(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True, max_retries=None)
        def again(self):
            if self.request.retries == 8:
                return "at last"
            raise self.retry(countdown=0)
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        assert outcome(app, "again") == "'at last' SUCCESS"


def test_the_next_attempt_has_other_arguments_options_and_queue_and_the_same_serializer(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(
        """
        @app.task(bind=True, serializer="msgpack")
        def change(self, data, more=None):
            if self.request.retries == 0:
                raise self.retry(args=(data + b"!",), kwargs={"more": "x"}, countdown=0, queue="slow", priority=3,
                                 expires=3600, headers={"color": "red"}, time_limit=50)
        """,
        CONFIG,
    )
    with app.worker("-c", "1", "-Q", "work"), Queues(vhost) as queues:
        app.python("import tasks; tasks.change.apply_async((b'bytes',), headers={'shape': 'round'})")
        (delivery,) = queues.take("slow", 1)
    envelope = delivery.envelope
    assert envelope.content_type == "application/x-msgpack"
    assert b"bytes!" in envelope.body
    assert (envelope.priority, envelope.delivery_mode) == (3, 2)
    assert envelope.expiration is not None
    headers = envelope.headers
    assert (headers["retries"], headers["timelimit"], headers["color"], headers["shape"]) == (
        1,
        [50, None],
        "red",
        "round",
    )
    assert headers["kwargsrepr"] == "{'more': 'x'}"


def test_what_follows_a_task_follows_its_last_attempt_only(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True)
        def first(self, n):
            if self.request.retries < 2:
                raise self.retry(countdown=0, args=(n + 1,))
            return n

        @app.task
        def second(n):
            note("second", n)
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        app.python("import tasks; tasks.first.apply_async((0,), link=tasks.second.s())")
        eventually(lambda: app.lines() == ["second 2"])
    assert depth(app, "work") == 0


def test_a_retry_goes_back_to_its_own_queue_only(scratch: MakeScratch, vhost: str) -> None:
    """Published by its first route it would reach the other queue, too, for a second time."""
    app = scratch(
        """
        @app.task(bind=True)
        def once(self):
            note(self.request.delivery_info.queue, self.request.retries)
            if self.request.retries < 1:
                raise self.retry(countdown=2)
        """,
        """
        exchanges:
          all: {type: fanout}
        queues:
          one: {bind: [all]}
          two: {bind: [all]}
        routes:
          - {task: "*", exchange: all}
        """,
    )
    with app.worker("-c", "1", "-Q", "one"), Queues(vhost) as queues:
        app.python("import tasks; tasks.once.apply_async(ignore_result=True)")
        eventually(lambda: app.lines() == ["one 0", "one 1"])
        assert queues.depth("two") == 1
        assert queues.depth(Relay("", "one").queue) == 0


def test_an_eta_without_a_zone_is_in_the_apps(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(
        """
        from datetime import datetime, timedelta
        from zoneinfo import ZoneInfo

        @app.task(bind=True)
        def later(self):
            now = datetime.now(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None)
            raise self.retry(eta=now + timedelta(hours=1))
        """,
        CONFIG + "\n    timezone: Asia/Tokyo\n",
    )
    with app.worker("-c", "1"), Queues(vhost) as queues:
        app.python("import tasks; tasks.later.apply_async(ignore_result=True)")
        eventually(lambda: queues.depth("aqt.delay.11") == 1)


def test_a_retried_state_is_seen_by_who_waits(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task(bind=True)
        def again(self):
            if self.request.retries:
                return "done"
            raise self.retry(countdown=2, exc=ValueError("not yet"))
        """,
        CONFIG,
    )
    with app.worker("-c", "1"):
        seen = app.python(
            """
            import json
            import tasks
            print(json.dumps([report.status for report in tasks.again.delay().updates(60)]))
            """
        )
    states = json.loads(seen)
    assert states[-2:] == ["RETRY", "SUCCESS"]
