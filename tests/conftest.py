"""Fixtures that all tests with a broker share. `tests/support/broker.py` says which broker is chosen."""

from collections.abc import Iterator

import pytest

from tests.support.broker import Broker, find_broker
from tests.support.rabbitmq import RabbitNode


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The RabbitMQ of this run."""
    with find_broker() as found:
        yield found


@pytest.fixture
def vhost(broker: Broker) -> str:
    """The URL of a virtual host that no other test uses."""
    return broker.vhost()


@pytest.fixture(scope="module")
def module_vhost(broker: Broker) -> str:
    """The URL of a virtual host that the tests of one file share."""
    return broker.vhost()


@pytest.fixture
def node(broker: Broker) -> Iterator[RabbitNode]:
    """The private node, to be broken; it is whole again after the test."""
    if broker.node is None:
        pytest.skip("this test breaks the broker, so it needs an installed rabbitmq-server for a private node")
    yield broker.node
    broker.node.heal()
