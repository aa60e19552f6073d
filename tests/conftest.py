"""Fixtures that all tests with a broker share. `tests/support/broker.py` says which broker is chosen."""

from collections.abc import Iterator

import pytest

from tests.support.broker import KINDS, Broker, Node, find_rabbitmq, start_devbroker


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Broker]:
    """The RabbitMQ of this run."""
    with find_rabbitmq() as found:
        yield found


@pytest.fixture(scope="session")
def devbroker() -> Iterator[Broker]:
    """A devbroker in a process of its own."""
    with start_devbroker() as started:
        yield started


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """The broker of this run, or of the kind that the test asks for."""
    found: Broker = request.getfixturevalue(getattr(request, "param", KINDS[0]))
    return found


@pytest.fixture
def vhost(broker: Broker) -> str:
    """The URL of a virtual host that no other test uses."""
    return broker.vhost()


@pytest.fixture(scope="module")
def module_vhost(broker: Broker) -> str:
    """The URL of a virtual host that the tests of one file share."""
    return broker.vhost()


@pytest.fixture
def node(broker: Broker) -> Iterator[Node]:
    """The private node, to be broken; it is whole again after the test."""
    if broker.node is None:
        pytest.skip("this test breaks the broker, so it needs an installed rabbitmq-server for a private node")
    yield broker.node
    broker.node.heal()
