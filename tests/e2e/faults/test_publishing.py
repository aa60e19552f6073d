"""Faults between a caller and the broker: whoever is told that a message was sent finds it there, whatever happened."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from amqtask import App
from amqtask.core.declare import DeclareQueue, DeleteExchange, UnbindQueue
from amqtask.errors import BatchFailed, NotFound, PublishNacked, PublishTimeout, Unroutable
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.proxy import ACK, Proxy
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

CONFIG: dict[str, Any] = {
    "exchanges": {"tasks": {"type": "topic"}, "others": {"type": "topic"}},
    "queues": {
        "work": {"bind": ["tasks[work.#]"]},
        "rest": {"bind": ["others[#]"]},
        "small": {"type": "classic", "max_length": 1, "overflow": "reject-publish"},
    },
}


@pytest.fixture
def make_app() -> Iterator[Callable[..., App]]:
    """Makes apps; they are closed at the end."""
    made: list[App] = []

    def make(url: str, **publish: Any) -> App:
        app = App("faults", config={**CONFIG, "broker": {"url": url}, "publish": publish})
        made.append(app)
        return app

    yield make
    for app in made:
        app.close(timeout=1.0)


@pytest.fixture
def proxied(node: Node) -> Iterator[tuple[Proxy, str, str]]:
    """A proxy before the private node, the URL through it and the direct one, of a new virtual host."""
    url = node.fresh_vhost()
    with Proxy("127.0.0.1", node.port) as proxy:
        yield proxy, url.replace(f":{node.port}/", f":{proxy.port}/"), url


def ids(queues: Queues, queue: str) -> Mapping[str, int]:
    """The ids of a queue's messages, and how often each is there."""
    count = queues.depth(queue) or 0
    return Counter(str(delivery.envelope.headers["id"]) for delivery in queues.take(queue, count))


def failures_of(app: App, ways: Sequence[Mapping[str, Any]]) -> Mapping[str, Exception]:
    """Send one message on each way, all at once; what failed, by id."""
    try:
        with app.batch():
            for number, way in enumerate(ways):
                app.send_task("t", task_id=f"id{number}", ignore_result=True, **way)
    except BatchFailed as failed:
        return failed.failures
    return {}


@pytest.mark.parametrize("after", [3, 40, 150])
def test_what_a_killed_publisher_was_told_to_be_sent_is_there_once(
    scratch: MakeScratch, vhost: str, after: int
) -> None:
    """Row 13: killed anywhere, also between a publish and its confirm."""
    app = scratch("    @app.task\n    def mark(n): ...")
    publisher = app.start_python(
        """
        import itertools
        import tasks
        for n in itertools.count():
            tasks.mark.apply_async((n,), task_id=f"id{n}", ignore_result=True)
            tasks.note(f"id{n}")
        """
    )
    eventually(lambda: len(app.lines()) >= after)
    publisher.send_signal(signal.SIGKILL)
    publisher.wait()
    confirmed = set(app.lines())
    with Queues(vhost) as queues:
        eventually(lambda: (queues.depth("lo") or 0) >= len(confirmed))
        found = ids(queues, "lo")
    assert confirmed <= found.keys(), "none is lost"
    assert set(found.values()) == {1}
    assert len(found) - len(confirmed) <= 1, "the one that was under way may be there"


def test_a_publish_whose_confirm_is_lost_ends_as_unknown(
    make_app: Callable[..., App], proxied: tuple[Proxy, str, str]
) -> None:
    """Row 14: the message is there, but its sender cannot know."""
    proxy, url, direct = proxied
    app = make_app(url, timeout=3.0)
    app.send_task("t", queue="work", task_id="a", ignore_result=True)
    proxy.stall_at(ACK, from_broker=True)
    with pytest.raises(PublishTimeout, match="did not confirm"):
        app.send_task("t", queue="work", task_id="b", ignore_result=True)
    proxy.cut()
    proxy.heal()
    with Queues(direct) as queues:
        assert ids(queues, "work") == {"a": 1, "b": 1}


def test_a_publish_whose_confirm_was_lost_with_the_connection_is_sent_again_under_its_id(
    make_app: Callable[..., App], proxied: tuple[Proxy, str, str]
) -> None:
    """Row 14: sent again within the deadline; the copy has the same id, so that it can be told."""
    proxy, url, direct = proxied
    app = make_app(url, timeout=60.0)
    app.send_task("t", queue="work", task_id="a", ignore_result=True)
    proxy.stall_at(ACK, from_broker=True)
    with app.batch():
        app.send_task("t", queue="work", task_id="b", ignore_result=True)
        eventually(lambda: proxy.trapped)
        proxy.cut()
        proxy.heal()
    with Queues(direct) as queues:
        assert ids(queues, "work") == {"a": 1, "b": 2}


def test_a_message_survives_a_connection_that_is_lost_while_its_delay_tree_is_declared(
    make_app: Callable[..., App], proxied: tuple[Proxy, str, str]
) -> None:
    """It was lost itself, and its sender waited for the publisher's thread in vain."""
    proxy, url, direct = proxied
    app = make_app(url, timeout=60.0)
    proxy.stall_at(b"aqt.delay.05", from_broker=False)
    with app.batch():
        app.send_task("t", queue="work", task_id="a", countdown=3600, ignore_result=True)
        eventually(lambda: proxy.trapped)
        proxy.cut()
        proxy.heal()
    with Queues(direct) as queues:
        assert ids(queues, "aqt.delay.11") == {"a": 1}


def test_a_full_queue_is_an_error_at_its_sender(make_app: Callable[..., App], vhost: str) -> None:
    """Row 15."""
    app = make_app(vhost)
    app.send_task("t", queue="small", ignore_result=True)
    with pytest.raises(PublishNacked, match="it is full"):
        app.send_task("t", queue="small", ignore_result=True)


def test_a_message_that_no_queue_takes_is_an_error_and_a_batch_names_each(
    make_app: Callable[..., App], vhost: str
) -> None:
    """Row 16: the binding was taken away behind the publisher's back."""
    app = make_app(vhost)
    app.send_task("t", exchange="tasks", routing_key="work.a", ignore_result=True)
    with Queues(vhost) as queues:
        queues.do(UnbindQueue(queue="work", exchange="tasks", routing_key="work.#"))
        with pytest.raises(Unroutable, match=r"takes a message for exchange 'tasks' with routing key 'work\.a'"):
            app.send_task("t", exchange="tasks", routing_key="work.a", ignore_result=True)
        ways = [{"queue": "work"} if n % 2 else {"exchange": "tasks", "routing_key": "work.b"} for n in range(20)]
        failures = failures_of(app, ways)
        assert failures.keys() == {f"id{number}" for number in range(0, 20, 2)}
        assert all(isinstance(error, Unroutable) for error in failures.values())
        assert queues.depth("work") == 11


def test_an_exchange_that_was_deleted_fails_its_messages_and_no_others(
    make_app: Callable[..., App], vhost: str
) -> None:
    """Row 17: the broker closes the channel, with everything that is under way on it."""
    app = make_app(vhost)
    app.send_task("t", exchange="tasks", routing_key="work.a", ignore_result=True)
    with Queues(vhost) as queues:
        queues.do(DeleteExchange(name="tasks"))
        ways = [{"exchange": "tasks" if n == 50 else "others", "routing_key": "x"} for n in range(100)]
        ((gone, error),) = failures_of(app, ways).items()
        assert gone == "id50"
        assert isinstance(error, NotFound)
        found = ids(queues, "rest")
    assert found.keys() == {f"id{number}" for number in range(100)} - {"id50"}


def test_the_queues_of_the_configuration_are_there_before_the_first_message(
    make_app: Callable[..., App], vhost: str
) -> None:
    make_app(vhost).send_task("t", queue="work", ignore_result=True)
    with Queues(vhost) as queues:
        assert queues.do(DeclareQueue(name="work", passive=True)) is not None
