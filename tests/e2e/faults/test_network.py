"""Rows 10 to 12: the way to the broker is cut in the middle of a frame, goes dead in one direction or both, or is slow.

A proxy stands between the worker and the broker; whoever sends has a way of its own.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from amqtask import App
from amqtask.errors import PublishTimeout
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.ledger import CONFIG, TASKS, Ledger
from tests.support.program import Scratch
from tests.support.proxy import Proxy
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

SILENT = r"nothing came for 2 s \(heartbeat\)"


class Way(NamedTuple):
    """The proxy before the node, and the URLs of a new virtual host through it and past it."""

    proxy: Proxy
    through: str
    past: str


@pytest.fixture
def way(node: Node) -> Iterator[Way]:
    url = node.fresh_vhost()
    with Proxy("127.0.0.1", node.port) as proxy:
        yield Way(proxy, url.replace(f":{node.port}/", f":{proxy.port}/"), url)


FAULTS = {
    "neither hears the other": (Proxy.stall, SILENT),
    "the worker hears nothing": (Proxy.deafen, SILENT),
    # The broker misses two heartbeats and closes, or the kernel gives up what it cannot send.
    "the broker hears nothing": (Proxy.mute, "lost the connection"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_dead_line_is_noticed_by_heartbeats_and_no_task_is_lost(scratch: MakeScratch, way: Way, fault: str) -> None:
    happen, said = FAULTS[fault]
    app = scratch(TASKS, CONFIG, url=way.through)
    ledger = Ledger(app, way.past)
    ledger.send(40, 0.1)
    with app.worker("-c", "2") as worker:
        ledger.wait_begun(4)
        happen(way.proxy)
        worker.wait_for(said)
        # As a line that comes back: what was under way on the old connections never arrives.
        way.proxy.cut()
        way.proxy.heal()
        ledger.settle()
        assert worker.stop() == 0


def test_a_task_that_ends_while_the_line_is_dead_is_settled_by_the_message_that_comes_again(
    scratch: MakeScratch, way: Way
) -> None:
    app = scratch(TASKS, CONFIG, url=way.through)
    ledger = Ledger(app, way.past)
    with app.worker("-c", "1") as worker:
        ledger.send(1, 3)
        ledger.wait_begun(1)
        way.proxy.stall()
        way.proxy.cut()
        eventually(lambda: ledger.ended)
        way.proxy.heal()
        worker.wait_for(r"tasks\.mark\[s0\] came again .*; it does not run twice")
        ledger.send(1)
        ledger.settle()
        with Queues(way.past) as queues:
            eventually(lambda: queues.depth("lo") == 0)
        assert worker.stop() == 0
    assert not ledger.doubled()


def test_a_worker_goes_to_the_next_broker_of_its_list_when_one_is_silent(scratch: MakeScratch, way: Way) -> None:
    app = scratch(TASKS, CONFIG, url=way.through)
    config = app.folder / "amqtask.yaml"
    config.write_text(config.read_text().replace(f"url: {way.through}", f"urls: [{way.through}, {way.past}]"))
    ledger = Ledger(app, way.past)
    ledger.send(40, 0.1)
    with app.worker("-c", "2", "--set", "broker.connect_timeout=1s") as worker:
        ledger.wait_begun(4)
        way.proxy.stall()
        worker.wait_for(SILENT)
        ledger.settle()
        assert worker.stop() == 0


def test_a_slow_line_is_not_taken_for_a_dead_one(scratch: MakeScratch, way: Way) -> None:
    app = scratch(
        """
        @app.task
        def measure(text):
            return len(text)
        """,
        CONFIG,
        url=way.through,
    )
    with app.worker("-c", "1") as worker:
        # A message takes longer than two heartbeats, which wait behind it.
        way.proxy.slow_down(4000)
        # Through the same proxy in both directions: to the broker, and from there to the worker.
        out = app.python("import tasks; print(tasks.measure.apply_async(('x' * 20_000,), timeout=60).get(timeout=60))")
        assert out == "20000\n"
        way.proxy.heal()
        assert worker.stop() == 0
    assert "lost the connection" not in worker.output()


def test_a_slow_line_does_not_keep_a_publisher_beyond_its_deadline(way: Way) -> None:
    settings = {"broker": {"url": way.through}, "queues": {"lo": {}}, "publish": {"timeout": 2.0}}
    app = App("slow", config=settings)
    try:
        app.send_task("t", queue="lo", ignore_result=True)
        way.proxy.slow_down(10_000)
        began = time.monotonic()
        with pytest.raises(
            PublishTimeout, match="did not confirm the message in time; whether it was kept is not known"
        ):
            app.send_task("t", ("x" * 1_000_000,), queue="lo", ignore_result=True)
        assert time.monotonic() - began < 20
    finally:
        way.proxy.heal()
        way.proxy.cut()
        app.close(timeout=1.0)


@pytest.mark.parametrize("from_broker", [True, False], ids=["from the broker", "to the broker"])
def test_a_connection_that_is_cut_anywhere_in_a_frame_loses_nothing(
    scratch: MakeScratch, way: Way, from_broker: bool
) -> None:
    app = scratch(TASKS, CONFIG, url=way.through)
    ledger = Ledger(app, way.past)
    ledger.send(400, 0.005)
    with app.worker("-c", "2", "--set", "broker.reconnect.initial=50ms") as worker:
        for octets in (1, 3, 7, 8, 29, 130, 401, 1003, 2500):
            before = ledger.begun
            way.proxy.cut_after(octets, from_broker=from_broker)
            eventually(lambda: not way.proxy.connections, 60, "it was not cut")
            way.proxy.heal()
            eventually(lambda before=before: ledger.begun > before or len(ledger.ended) >= 400, 60)  # type: ignore[misc]
        ledger.settle()
        assert worker.stop() == 0
