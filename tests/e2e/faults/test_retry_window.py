"""A retry is confirmed before its message is acknowledged: what dies in between doubles, and never loses."""

import json
from collections.abc import Callable, Iterator

import pytest

from amqtask.core.message import Envelope
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.proxy import ACK, Proxy
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task(bind=True, max_retries=1, ignore_result=True)
    def flaky(self, key):
        note(key, self.request.retries)
        if self.request.retries == 0:
            raise self.retry(countdown=3)
    """


@pytest.fixture
def proxy(node: Node) -> Iterator[Proxy]:
    """A proxy before the private node."""
    with Proxy("127.0.0.1", node.port) as proxy:
        yield proxy


@pytest.mark.parametrize("lost", ["ack", "confirm"])
def test_a_worker_killed_between_the_retry_and_its_ack_loses_nothing(
    scratch: MakeScratch, node: Node, proxy: Proxy, lost: str
) -> None:
    url = node.fresh_vhost()
    app = scratch(TASKS, url=url.replace(f":{node.port}/", f":{proxy.port}/"))
    message = Envelope(
        body=json.dumps([["k"], {}, {}]).encode(),
        headers={"task": "tasks.flaky", "id": "k", "ignore_result": True},
        content_type="application/json",
        content_encoding="utf-8",
    )
    with Queues(url) as queues:
        with app.worker("-c", "1"):
            # Either the ack does not reach the broker, or the confirm of the retry does not reach the worker.
            proxy.stall_at(ACK, from_broker=lost == "confirm")
            queues.put(message, "lo")
            eventually(lambda: proxy.trapped)
            assert app.lines() == ["k 0"]
        # It was killed. What it had written and the proxy held back goes with the connections.
        proxy.cut()
        proxy.heal()
        # The broker has both now: the message that nobody acknowledged, and its next attempt.
        with app.worker("-c", "1") as worker:
            eventually(lambda: app.lines().count("k 1") == 2, 60, lambda: str(app.lines()))
            assert worker.stop() == 0
        assert queues.depth("lo") == 0
    assert sorted(app.lines()) == ["k 0", "k 0", "k 1", "k 1"]
