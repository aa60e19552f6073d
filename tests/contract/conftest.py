"""Every driver against every broker that it can talk to. A further pair is one more line in PAIRS."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from amqtask.core.address import Address, parse_url
from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Envelope
from amqtask.devbroker.local import LocalBroker
from amqtask.drivers import load_driver
from amqtask.drivers.base import Channel, Connection, Driver
from tests.support.broker import KINDS, Broker, Node
from tests.support.names import unique
from tests.support.recorder import Recorder, poll_until

DRIVERS = ("pika", "amqp")
ON_WIRES = [(driver, kind) for driver in DRIVERS for kind in KINDS]
PAIRS = [*ON_WIRES, ("memory", "local")]

on_wires = pytest.mark.parametrize("rig", ON_WIRES, indirect=True, ids=lambda pair: "-".join(pair))
"""For tests of what happens on the way between client and broker."""


@dataclass
class Rig:
    """A driver and a virtual host, and short ways to the usual beginnings. It closes what it opened."""

    driver: Driver
    address: Address
    node: Node | None = None
    opened: list[Connection] = field(default_factory=list)

    def connect(self, *, timeout: float = 30.0, **changes: Any) -> Connection:
        """A connection; `changes` are fields of its address."""
        connection = self.driver.connect(replace(self.address, **changes), timeout)
        self.opened.append(connection)
        return connection

    def channel(self, *, confirms: bool = True, **changes: Any) -> tuple[Connection, Channel, Recorder]:
        """A channel on a connection of its own, and its sink."""
        connection, sink = self.connect(**changes), Recorder()
        return connection, connection.channel(sink, confirms=confirms), sink

    def queue(self, channel: Channel, **options: Any) -> str:
        """A classic queue that goes with the channel's connection, or as the fields of DeclareQueue say."""
        fields: dict[str, Any] = {"name": unique("driver"), "durable": False, "exclusive": True} | options
        info = channel.declare(DeclareQueue(**fields))
        assert info is not None
        return info.name

    def fill(self, connection: Connection, channel: Channel, sink: Recorder, queue: str, count: int) -> None:
        """Put messages into a queue, their numbers as bodies, and wait until all are confirmed."""
        before = len(sink.confirms)
        last = 0
        for number in range(count):
            last = channel.publish(Envelope(body=b"%d" % number), "", queue, mandatory=True)
        poll_until(
            connection, lambda: any(s >= last for s, _, _ in sink.confirms[before:]), "the confirms did not come"
        )


@pytest.fixture(scope="module")
def rabbitmq_vhost(rabbitmq: Broker) -> str:
    """The URL of a virtual host of the RabbitMQ that the tests of one file share."""
    return rabbitmq.vhost()


@pytest.fixture(scope="module")
def devbroker_vhost(devbroker: Broker) -> str:
    """The same of the devbroker."""
    return devbroker.vhost()


@pytest.fixture
def local_vhost() -> Iterator[str]:
    """The URL of a broker in this process."""
    with LocalBroker("contract") as broker:
        yield broker.url


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A driver on a broker."""
    driver, kind = request.param
    node = None if kind == "local" else request.getfixturevalue(kind).node
    made = Rig(load_driver(driver), parse_url(request.getfixturevalue(f"{kind}_vhost")), node)
    yield made
    for connection in made.opened:
        connection.close()
