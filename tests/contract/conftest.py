"""Every driver against every broker that it can talk to. A further pair is one more line in PAIRS."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from amqtask.core.address import Address, parse_url
from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Envelope
from amqtask.drivers.base import Channel, Connection, Driver
from tests.support.names import unique
from tests.support.recorder import Recorder, poll_until

DRIVERS = {"pika": "amqtask.drivers.pika:PikaDriver", "amqp": "amqtask.drivers.amqp:AmqpDriver"}
PAIRS = [("pika", "rabbitmq"), ("amqp", "rabbitmq"), ("pika", "devbroker"), ("amqp", "devbroker")]
ON_RABBITMQ = pytest.mark.parametrize(
    "rig", [pair for pair in PAIRS if pair[1] == "rabbitmq"], indirect=True, ids=lambda pair: "-".join(pair)
)
"""For tests that break the broker."""


@dataclass
class Rig:
    """A driver and a virtual host, and short ways to the usual beginnings. It closes what it opened."""

    driver: Driver
    address: Address
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


def load(name: str) -> Driver:
    """The driver of this name."""
    module, _, attribute = DRIVERS[name].partition(":")
    driver: Driver = getattr(importlib.import_module(module), attribute)()
    return driver


@pytest.fixture(scope="session")
def devbroker_url() -> Iterator[str]:
    """A devbroker in a process of its own."""
    command = [sys.executable, "-u", "-m", "amqtask.devbroker", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().rpartition(" ")[2].strip()
        process.kill()


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A driver on a broker."""
    driver, broker = request.param
    url = request.getfixturevalue("module_vhost" if broker == "rabbitmq" else "devbroker_url")
    made = Rig(load(driver), parse_url(url))
    yield made
    for connection in made.opened:
        connection.close()
