"""Delays that the broker keeps: to every type of exchange, never early, and whatever becomes of the tree meanwhile."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from amqtask import App
from amqtask.core.declare import DeclareQueue, DeleteExchange, DeleteQueue
from amqtask.core.delay import LOST, Relay, entry, level_name
from amqtask.core.message import Envelope, HeaderValue
from amqtask.errors import NotFound, PermissionDenied, TaskRevoked
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues
from tests.support.rabbitmq import RabbitNode

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG: dict[str, Any] = {
    "exchanges": {name: {"type": name} for name in ("direct", "topic", "fanout", "headers")},
    "queues": {
        "by_direct": {"bind": ["direct[red]"]},
        "by_topic": {"bind": ["topic[shop.#]"]},
        "by_fanout": {"bind": ["fanout"]},
        "by_headers": {"bind": [{"exchange": "headers", "match": {"x-match": "all", "kind": "pdf"}}]},
        "plain": {},
    },
}

TASKS = """
    @app.task
    def mark(key):
        note("ran", key, time.time())

    @app.task
    def ping():
        return "pong"
    """


@pytest.fixture
def make_app(vhost: str) -> Iterator[Callable[..., App]]:
    """Makes apps on the test's virtual host; they are closed at its end."""
    made: list[App] = []

    def make(settings: Mapping[str, Any] | None = None, url: str = vhost) -> App:
        app = App("delays", config={**CONFIG, "broker": {"url": url}, **(settings or {})})
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def queues(vhost: str) -> Iterator[Queues]:
    """The queues of the test's virtual host."""
    with Queues(vhost) as found:
        yield found


@pytest.mark.parametrize(
    ("queue", "way"),
    [
        ("by_direct", {"exchange": "direct", "routing_key": "red"}),
        ("by_topic", {"exchange": "topic", "routing_key": "shop.order.paid"}),
        ("by_fanout", {"exchange": "fanout", "routing_key": ""}),
        ("by_headers", {"exchange": "headers", "routing_key": "", "headers": {"kind": "pdf"}}),
        ("plain", {"queue": "plain"}),
    ],
)
def test_a_delayed_message_comes_out_where_an_undelayed_one_does(
    make_app: Callable[..., App], queues: Queues, queue: str, way: dict[str, Any]
) -> None:
    app = make_app()
    before = datetime.now(UTC)
    app.send_task("t", (1,), countdown=3, ignore_result=True, **way)

    (delivery,) = queues.take(queue, 1)

    waited = (datetime.now(UTC) - before).total_seconds()
    assert waited >= 2, "whole seconds are waited for in the broker, the rest in the worker"
    assert delivery.routing_key == way.get("routing_key", queue)
    assert delivery.exchange == way.get("exchange", "")
    eta = datetime.fromisoformat(str(delivery.envelope.headers["eta"]))
    assert timedelta(seconds=3) <= eta - before < timedelta(seconds=30)


def test_a_naive_eta_is_in_the_apps_time_zone(make_app: Callable[..., App], queues: Queues) -> None:
    app = make_app({"timezone": "Asia/Tokyo"})
    tomorrow = datetime.now(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None) + timedelta(days=1)
    app.send_task("t", queue="plain", eta=tomorrow, ignore_result=True)

    (delivery,) = queues.take(level_name(16), 1)

    assert str(delivery.envelope.headers["eta"]) == tomorrow.replace(tzinfo=ZoneInfo("Asia/Tokyo")).isoformat()


def test_a_delay_of_twenty_years_waits_as_long_as_the_tree_is_deep(
    make_app: Callable[..., App], queues: Queues
) -> None:
    app = make_app()
    app.send_task("t", queue="plain", eta=datetime.now(UTC) + timedelta(days=7305), ignore_result=True)
    assert queues.depth(level_name(27)) == 1


def test_what_would_have_expired_when_it_may_run_is_revoked_at_once_and_not_sent(
    make_app: Callable[..., App], queues: Queues
) -> None:
    app = make_app()
    calls: list[dict[str, Any]] = [{"expires": -1.0}, {"expires": 5.0, "countdown": 10.0}]
    for call in calls:
        result = app.send_task("t", queue="plain", **call)
        with pytest.raises(TaskRevoked, match="expired"):
            result.get(timeout=60)
    queues.do(DeclareQueue(name="plain", passive=True))
    assert queues.depth("plain") == 0


def test_a_level_that_was_deleted_is_declared_again(make_app: Callable[..., App], queues: Queues) -> None:
    app = make_app()

    def send() -> None:
        app.send_task("t", queue="plain", countdown=3600, ignore_result=True)

    send()
    queues.do(DeleteExchange(name=level_name(11)))
    send()
    assert queues.depth(level_name(11)) == 2
    queues.do(DeleteQueue(name=level_name(11)))
    send()
    assert queues.depth(level_name(11)) == 1


def test_what_waits_for_a_relay_that_was_deleted_is_kept_and_stalls_nobody(
    make_app: Callable[..., App], queues: Queues
) -> None:
    app = make_app()
    for _ in range(40):
        app.send_task("t", queue="plain", countdown=3, ignore_result=True)
    queues.do(DeleteQueue(name=Relay("", "plain").queue))
    app.send_task("t", queue="by_topic", countdown=3, ignore_result=True)
    queues.take("by_topic", 1)
    eventually(lambda: queues.depth(LOST) == 40)


@pytest.mark.parametrize("why", ["missing", "full"])
def test_a_destination_that_takes_nothing_stalls_its_own_relay_only(
    make_app: Callable[..., App], queues: Queues, why: str
) -> None:
    app = make_app()
    if why == "full":
        arguments: dict[str, HeaderValue] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queues.do(DeclareQueue(name="bad", arguments=arguments))
        queues.put(Envelope(body=b""), "bad")
    sender = app.parts.sender
    soon = datetime.now(UTC) + timedelta(seconds=3.9)
    with app.batch() as batch:
        for number in range(60):
            ticket = sender.route(Envelope(body=b"", correlation_id=f"bad{number}"), "", "bad", eta=soon)
            batch.add(ticket, 60.0)
            app.publisher.send(ticket)
    for _ in range(3):
        app.send_task("t", queue="plain", countdown=6, ignore_result=True)
    assert len(queues.take("plain", 3)) == 3


@pytest.mark.parametrize("mode", ["verify", "never"])
def test_where_nothing_may_be_declared_a_missing_tree_is_an_error_that_says_what_to_do(
    make_app: Callable[..., App], queues: Queues, vhost: str, mode: str
) -> None:
    queues.do(DeclareQueue(name="plain", arguments={"x-queue-type": "quorum"}))
    bare = {"queues": {"plain": {"dead_letter": {"enabled": False}}}, "exchanges": {}}
    app = make_app({**bare, "broker": {"url": vhost, "declare": mode}})

    with pytest.raises(NotFound, match=r"aqt\.delay.*amqtask delayed --declare"):
        app.send_task("t", queue="plain", countdown=5, ignore_result=True)
    make_app({**bare}).send_task("t", queue="plain", countdown=3600, ignore_result=True)
    app.send_task("t", queue="plain", countdown=3600, ignore_result=True)

    assert queues.depth(level_name(11)) == 2


def test_a_user_who_may_not_configure_is_told_what_to_grant(make_app: Callable[..., App], node: RabbitNode) -> None:
    url = node.fresh_vhost()
    with Queues(url) as queues:
        queues.do(DeclareQueue(name="plain", arguments={"x-queue-type": "quorum"}))
    vhost = url.rpartition("/")[2]
    node.ctl("add_user", "poor", "poor")
    node.ctl("set_permissions", "-p", vhost, "poor", "^$", ".*", ".*")
    app = make_app(
        {"queues": {"plain": {"declare": "never"}}, "exchanges": {}}, url=url.replace("guest:guest", "poor:poor")
    )

    with pytest.raises(PermissionDenied, match=r"grant configure, write and read on \^aqt"):
        app.send_task("t", queue="plain", countdown=5, ignore_result=True)
    app.send_task("t", queue="plain", ignore_result=True)


def test_a_worker_runs_delayed_tasks_in_their_time_and_waits_without_a_slot(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    app.python(
        """
        import tasks, time
        tasks.ping.apply_async(ignore_result=True)
        for key, seconds in (("a", 1.5), ("b", 2.9), ("c", 0.4)):
            tasks.note("due", key, time.time() + seconds)
            tasks.mark.apply_async((key,), countdown=seconds)
        """
    )
    with app.worker("-c", "1"):
        # The only slot is free while they wait.
        assert app.python("import tasks; print(tasks.ping.delay().get(timeout=30))") == "pong\n"
        eventually(lambda: len(app.lines()) == 6)
    words = [line.split() for line in app.lines()]
    due = {key: float(when) for what, key, when in words if what == "due"}
    ran = {key: float(when) for what, key, when in words if what == "ran"}
    assert all(ran[key] >= due[key] - 0.01 for key in due), "none is early"


def test_a_message_that_comes_long_before_its_time_is_delayed_again(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"), Queues(vhost) as queues:
        due = datetime.now(UTC) + timedelta(seconds=6)
        headers: dict[str, HeaderValue] = {"task": "tasks.mark", "id": "early", "eta": due.isoformat(), "retries": 0}
        body = b'[["x"], {}, {}]'
        queues.put(
            Envelope(body=body, headers=headers, content_type="application/json", content_encoding="utf-8"), "lo"
        )
        (line,) = eventually(app.lines)
        assert float(line.split()[2]) >= due.timestamp() - 0.01
        assert queues.depth(Relay("", "lo").queue) == 0, "it went through the tree, by its queue's relay"


def test_a_task_that_expired_in_its_queue_is_revoked_on_arrival(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    waiting = app.start_python(
        """
        import tasks
        from amqtask.errors import TaskRevoked
        tasks.note("sent")
        try:
            tasks.mark.apply_async(("x",), countdown=1, expires=3).get(timeout=60)
        except TaskRevoked as error:
            tasks.note("revoked", error)
        """
    )
    eventually(lambda: "sent" in app.lines())

    time.sleep(4)
    with app.worker("-c", "1"):
        assert waiting.wait(90) == 0
    assert app.lines() == ["sent", "revoked expired"]


def test_a_task_retried_again_and_again_goes_through_the_tree_each_time(scratch: MakeScratch) -> None:
    """RabbitMQ up to 3.13 drops a message that brings its `x-death` along to a queue named there, as a cycle."""
    app = scratch(
        """
        @app.task(bind=True, max_retries=4)
        def flaky(self, key):
            note("try", key, self.request.retries)
            if self.request.retries < 4:
                raise self.retry(countdown=1.2)
            return "done"
        """
    )
    with app.worker("-c", "1"):
        assert app.python("import tasks; print(tasks.flaky.delay('k').get(timeout=90))") == "done\n"
    assert app.lines() == [f"try k {n}" for n in range(5)]


def test_twenty_thousand_delayed_tasks_do_not_change_a_workers_memory(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1") as worker, Queues(vhost) as queues:
        assert app.python("import tasks; print(tasks.ping.delay().get(timeout=30))") == "pong\n"
        (child,) = worker.children()
        before = resident(child)
        app.python(
            """
            import tasks
            tasks.app.configure(overrides=["publish.timeout=120s"])
            for start in range(0, 20_000, 1000):
                with tasks.app.batch():
                    for number in range(1000):
                        tasks.mark.apply_async((start + number,), countdown=40_000, ignore_result=True)
            """
        )
        exchange, _ = entry(39_999, Relay("tasks", "lo.tasks.mark"))
        eventually(lambda: queues.depth(exchange) == 20_000)
        assert app.python("import tasks; print(tasks.ping.delay().get(timeout=30))") == "pong\n"
        assert resident(child) - before < 2_000, "kB"
    assert app.lines() == []


def test_what_waits_is_shown_by_level_with_its_relays_and_what_is_stuck(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS)
    done = app.run("delayed", "-A", "tasks:app")
    assert (done.returncode, done.stdout) == (
        0,
        "there is no delay tree: nothing was delayed on this virtual host yet\n",
    ), done.stderr
    app.python(
        """
        import tasks
        for seconds in (40, 4000, 5000, 10**9):
            tasks.mark.apply_async(("x",), countdown=seconds, ignore_result=True)
        """
    )
    done = app.run("delayed", "-A", "tasks:app")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "4 messages wait for their time",
        "aqt.delay.05         1  due within 0:01:03",
        "aqt.delay.11         1  due within 1:08:15",
        "aqt.delay.12         1  due within 2:16:31",
        "aqt.delay.27         1  due within 3106 days, 21:24:15",
        f"{Relay('tasks', 'lo.tasks.mark').queue}  to exchange tasks, key lo.tasks.mark",
    ]
    with Queues(vhost) as queues:
        queues.put(Envelope(body=b""), "", LOST)
        queues.do(DeleteQueue(name=level_name(3)), DeleteExchange(name="tasks"))
    done = app.run("delayed", "-A", "tasks:app", "--json")
    assert done.returncode == 1
    state = json.loads(done.stdout)
    assert (state["waiting"], state["lost"], state["levels"][3]["waiting"]) == (4, 1, None)
    assert state["relays"][0]["missing"] == "exchange 'tasks'"
    assert [problem.partition(" ")[0] for problem in state["stuck"]] == ["aqt.delay.03", "1", "exchange"]


def test_the_tree_can_be_declared_for_those_who_may_not(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS)
    assert app.run("topology", "apply").returncode == 0
    done = app.run("delayed", "-A", "tasks:app", "--declare", "--json")
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["lost"] == state["waiting"] == 0
    ways = {(relay["exchange"], relay["routing_key"]) for relay in state["relays"]}
    assert ways == {("", "hi"), ("", "lo"), ("tasks", "lo.tasks.mark"), ("tasks", "lo.tasks.ping")}


def resident(pid: int) -> int:
    """The memory of a process in kB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
