"""Rows 7 to 9: in a cluster of three nodes one dies, or is cut off with those who are connected to it.

The nodes are told to pause when they are in a minority (`cluster_partition_handling` in rabbitmq.conf, up to 4.2; from
4.3 on a node without a majority confirms nothing by itself).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.ledger import CONFIG, TASKS, Ledger
from tests.support.program import Scratch
from tests.support.rabbitmq import RabbitNode

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(300)]

MakeScratch = Callable[..., Scratch]

SETTINGS = {"cluster_partition_handling": "pause_minority"}


@pytest.fixture(scope="module")
def cluster(rabbitmq: Broker) -> Iterator[Sequence[RabbitNode]]:
    """Three nodes of one cluster."""
    if not isinstance(rabbitmq.node, RabbitNode):
        pytest.skip("this test breaks a cluster, so it needs an installed rabbitmq-server for private nodes")
    with ExitStack() as stack:
        first = stack.enter_context(RabbitNode(settings=SETTINGS))
        others = [RabbitNode(settings=SETTINGS, beside=first) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(stack.enter_context, others))
        for node in others:
            node.join()
        yield [first, *others]


@pytest.fixture
def nodes(cluster: Sequence[RabbitNode]) -> Iterator[Sequence[RabbitNode]]:
    """They are together again after the test."""
    yield cluster
    for node in cluster:
        node.heal()
    for node in cluster:
        eventually(lambda node=node: node.running_members() == len(cluster), 120, interval=0.5)  # type: ignore[misc]


def urls(nodes: Sequence[RabbitNode], vhost: str) -> list[str]:
    """The URLs of a virtual host at each node."""
    return [node.url + vhost for node in nodes]


def place(make: MakeScratch, at: Sequence[str]) -> Scratch:
    """An app that tries these brokers in this order."""
    app = make(TASKS, CONFIG, url=at[0])
    config = app.folder / "amqtask.yaml"
    config.write_text(config.read_text().replace(f"url: {at[0]}", f"urls: [{', '.join(at)}]"))
    return app


def test_the_death_of_a_queues_leader_holds_publishers_up_for_a_moment_and_loses_nothing(
    scratch: MakeScratch, nodes: Sequence[RabbitNode]
) -> None:
    vhost = nodes[0].fresh_vhost().rpartition("/")[2]
    at = urls(nodes, vhost)
    app = place(scratch, [at[1], at[2]])
    ledger = Ledger(app, at[0])
    ledger.send(50, 0.02)  # declared at the first node, which leads the queue
    nodes[0].remember_quorum_queues()
    with app.worker("-c", "2") as worker:
        with ledger.publishing():
            eventually(lambda: len(ledger.confirmed) > 80)
            nodes[0].kill9()
            before = len(ledger.confirmed)
            began = time.monotonic()
            eventually(lambda: len(ledger.confirmed) > before + 30, 30)
            assert time.monotonic() - began < 20
        ledger.settle()
        assert worker.stop() == 0


@pytest.mark.parametrize("cut_off", ["publisher", "worker"])
def test_who_is_cut_off_with_a_minority_goes_on_and_loses_nothing(
    scratch: MakeScratch, nodes: Sequence[RabbitNode], cut_off: str
) -> None:
    vhost = nodes[0].fresh_vhost().rpartition("/")[2]
    at = urls(nodes, vhost)
    alone, others = nodes[2], nodes[:2]
    # One of the two is with the node that is cut off; it knows the others.
    worker_first, publisher_first = (at[2], at[0]) if cut_off == "worker" else (at[0], at[2])
    app = place(scratch, [publisher_first, at[1], at[0]])
    ledger = Ledger(app, at[0])
    ledger.send(100, 0.1)
    with ExitStack() as stack:
        stack.enter_context(ledger.publishing())
        eventually(lambda: len(ledger.confirmed) > 120)
        place_worker = app.folder / "amqtask.yaml"
        place_worker.write_text(place_worker.read_text().replace(publisher_first, worker_first, 1))
        worker = stack.enter_context(app.worker("-c", "2"))
        ledger.wait_begun(10)
        before = len(ledger.confirmed)
        alone.cut_off()
        eventually(lambda: len(ledger.confirmed) > before + 50, 90, lambda: worker.output())
        if cut_off == "worker":
            worker.wait_for("lost the connection")
        alone.reach(others)
        (app.folder / "enough").touch()
        ledger.settle()
        assert worker.stop() == 0
