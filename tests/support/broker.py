"""Which broker the tests run on, and how to get a virtual host of one's own there.

It is a RabbitMQ. With `AMQTASK_TEST_BROKER=devbroker` (`make test-devbroker`) it is our own broker for development,
which behaves as the newest RabbitMQ that it knows; with `devbroker-3.10` as that one.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from amqtask.devbroker.emulate import DEFAULT, PROFILES
from amqtask.testing.rabbitmq import find_server, takes_login
from tests.support.devbroker import DevbrokerNode
from tests.support.rabbitmq import RabbitNode

Node = RabbitNode | DevbrokerNode
"""A broker that tests may break."""

NO_BROKER = (
    "no RabbitMQ for the tests: install rabbitmq-server (a private node of it is started), "
    "or run one on localhost:5672 that takes guest/guest, or start Docker, or set AMQTASK_BROKER_URL"
)

CHOICE = os.environ.get("AMQTASK_TEST_BROKER", "rabbitmq")
KINDS = ["rabbitmq", "devbroker"] if CHOICE == "rabbitmq" else ["devbroker"]
"""What tests that run on each kind of broker run on."""

ON_EACH_BROKER = pytest.mark.parametrize("broker", KINDS, indirect=True, scope="session")
"""For tests that run on the devbroker also where the others run on RabbitMQ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A broker that takes the tests; `node` is the private one, which may be broken, where there is one."""

    url: str
    node: Node | None = None

    def vhost(self) -> str:
        """The URL of a new virtual host on a private node; elsewhere the broker's own, so names must be unique."""
        return self.node.fresh_vhost() if self.node else self.url


@contextmanager
def start_devbroker() -> Iterator[Broker]:
    """A devbroker of the version that `AMQTASK_TEST_BROKER` names."""
    name, _, version = CHOICE.partition("-")
    if CHOICE != "rabbitmq" and (name != "devbroker" or version not in ("", *PROFILES)):
        known = ", ".join(f"devbroker-{version}" for version in PROFILES)
        pytest.fail(f"AMQTASK_TEST_BROKER={CHOICE} is not rabbitmq, devbroker, {known}")
    with DevbrokerNode(version or DEFAULT) as node:
        yield Broker(url=node.url, node=node)


@contextmanager
def find_rabbitmq() -> Iterator[Broker]:
    """The broker that is given, a private node, the one on localhost or one in Docker, in this order.

    Without any, tests fail where `CI` is true and are skipped elsewhere.
    """
    if url := os.environ.get("AMQTASK_BROKER_URL"):
        yield Broker(url=url)
    elif find_server():
        with RabbitNode() as node:
            yield Broker(url=node.url, node=node)
    elif takes_login("localhost", 5672):
        yield Broker(url="amqp://guest:guest@localhost:5672/")
    elif _docker_answers():
        with _container() as url:
            yield Broker(url=url)
    elif os.environ.get("CI") == "true":
        pytest.fail(NO_BROKER)
    else:
        pytest.skip(NO_BROKER)


def _docker_answers() -> bool:
    # The client and not the Python package: that leaves a socket open where no engine listens.
    client = shutil.which("docker")
    if client is None:
        return False
    try:
        return subprocess.run([client, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.rabbitmq import RabbitMqContainer

    with RabbitMqContainer("rabbitmq:4-management") as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5672)
        yield f"amqp://guest:guest@{host}:{port}/"
