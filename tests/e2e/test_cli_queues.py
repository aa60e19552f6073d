"""`amqtask queues`: how full queues are, by AMQP alone and with the management API of a real RabbitMQ."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amqtask.testing.rabbitmq import find_server
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.rabbitmq import RabbitNode

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
      idle: {}
    tasks:
      default_queue: work
    """

TASKS = """
    @app.task
    def wait(seconds):
        time.sleep(seconds)

    @app.task
    def reject():
        raise Reject("not today")
    """

FILL = """
    import tasks
    tasks.reject.delay()
    tasks.wait.apply_async((0,), countdown=600)
    for _ in range(5): tasks.wait.delay(120)
    """
WAIT = 4
"""Of five long tasks one runs; the worker holds none of the others, as it would keep them from other workers."""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def managed() -> Iterator[RabbitNode]:
    """A node with the management plugin."""
    if find_server() is None:
        pytest.skip("the management plugin needs an installed rabbitmq-server for a private node")
    with RabbitNode(management=True) as node:
        yield node


def ask(app: Scratch, *words: str) -> tuple[dict[str, dict[str, Any]], dict[str, int] | None]:
    """The queues by name, and what is delayed."""
    done = app.run("queues", *words, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {queue["name"]: queue for queue in said["queues"]}, said["delayed"]


def test_amqp_alone_tells_what_is_ready_dead_and_delayed_and_who_consumes(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    assert {queue["state"] for queue in ask(app)[0].values()} == {"missing"}
    with app.worker("-c", "1", "-Q", "work"):
        app.python(FILL)
        eventually(lambda: (work := ask(app, "work")[0]["work"])["dead"] == 1 and work["ready"] == WAIT, 60)
        queues, delayed = ask(app)
        assert list(queues) == ["work", "idle", "work.dlq", "idle.dlq"]
        assert (queues["work"]["consumers"], queues["idle"]["consumers"]) == (1, 0)
        assert queues["work.dlq"]["ready"] == 1
        assert {queue["unacked"] for queue in queues.values()} == {None}
        assert delayed == {"waiting": 1, "lost": 0}
        shown = app.run("queues").stdout.splitlines()
        assert shown[0].split() == ["queue", "type", "ready", "unacked", "consumers", "in/s", "out/s", "dead", "state"]
        assert shown[1].split() == ["work", "quorum", str(WAIT), "-", "1", "-", "-", "1", "ok"]
        assert shown[-1] == "1 message waits for its time (amqtask delayed)"
    assert ask(app, "amq.nowhere")[0]["amq.nowhere"]["state"] == "missing"
    none = app.run("queues", "x*")
    assert (none.returncode, none.stdout) == (1, "")
    assert "no queue fits 'x*'; without broker.management" in none.stderr


def test_the_management_api_tells_of_unacknowledged_messages_rates_and_other_queues(
    scratch: MakeScratch, managed: RabbitNode
) -> None:
    api = f"http://guest:guest@127.0.0.1:{managed.management_port}"
    app = scratch(TASKS, CONFIG, url=managed.fresh_vhost())
    more = ("--set", f"broker.management={api}")
    with app.worker("-c", "1", "-Q", "work"):
        app.python(FILL)

        def settled() -> bool:
            work = ask(app, *more)[0]["work"]
            return (work["unacked"], work["ready"], work["dead"]) == (1, WAIT, 1) and work["rate_in"] is not None

        eventually(settled, 90)  # its numbers are some seconds old
        queues, delayed = ask(app, *more)
        assert (queues["work"]["consumers"], queues["work"]["type"]) == (1, "quorum")
        assert isinstance(queues["work"]["rate_out"], float)
        assert delayed == {"waiting": 1, "lost": 0}
        found = ask(app, "aqt.delay.0?", *more)[0]
        assert len(found) == 10
        assert app.run("queues", "x*", *more).returncode == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://guest:guest@127.0.0.1:9", "refused"),
        ("http://guest:wrong@127.0.0.1:{managed}", "401"),
        ("http://127.0.0.1:{amqp}", "does not answer"),
    ],
)
def test_without_an_answer_of_the_management_api_it_says_so_and_goes_on(
    scratch: MakeScratch, managed: RabbitNode, url: str, why: str
) -> None:
    app = scratch(TASKS, CONFIG, url=managed.url)
    place = url.format(managed=managed.management_port, amqp=managed.port)
    done = app.run("queues", "--set", f"broker.management={place}")
    assert done.returncode == 0
    assert why in done.stderr
    assert "going on by AMQP alone" in done.stderr
    assert "wrong" not in done.stderr
    assert "work.dlq" in done.stdout
