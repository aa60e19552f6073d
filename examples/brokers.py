"""Finds a RabbitMQ for an example. Programs of your own know where theirs is and need none of this."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika

from amqtask.testing.rabbitmq import PrivateRabbitMQ, find_server, takes_login

VARIABLE = "AMQTASK_BROKER_URL"
LOCAL = "amqp://guest:guest@localhost:5672/"

NO_BROKER = f"""There is no RabbitMQ here. Three ways to get one:
  1. start one: docker run -d --rm -p 5672:5672 rabbitmq:4
  2. install it, and a private node of it is started: apt-get install rabbitmq-server, or brew install rabbitmq
  3. name one: export {VARIABLE}=amqp://user:password@host:5672/vhost"""


class NoBroker(Exception):
    """There is no broker to be had."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that takes connections, and how it was found."""

    url: str
    what: str


@contextmanager
def find_broker() -> Iterator[Broker]:
    """The broker that is named, the one on localhost, a private node, or one in Docker; the last two are stopped again.

    Raises:
        NoBroker: none of them; the message says how to get one.
    """
    if url := os.environ.get(VARIABLE):
        yield Broker(url, f"{without_password(url)} (named by {VARIABLE})")
    elif takes_login("localhost", 5672):
        yield Broker(LOCAL, "RabbitMQ on localhost:5672")
    elif find_server():
        with _private_node() as node:
            yield Broker(node.url, f"a private RabbitMQ on port {node.port}, for as long as this runs")
    elif _docker_answers():
        with _composed():
            yield Broker(LOCAL, "RabbitMQ by docker compose, for as long as this runs")
    else:
        raise NoBroker(NO_BROKER)


@contextmanager
def _private_node() -> Iterator[PrivateRabbitMQ]:
    with PrivateRabbitMQ() as node:
        yield node


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return all(
        subprocess.run(["docker", *command], capture_output=True, check=False).returncode == 0
        for command in (["info"], ["compose", "version"])
    )


@contextmanager
def _composed() -> Iterator[None]:
    compose = ["docker", "compose", "--file", str(Path(__file__).parent.parent / "docker-compose.yml")]
    started = subprocess.run([*compose, "up", "--detach", "--wait", "rabbitmq"], check=False)
    if started.returncode:
        raise NoBroker(f"docker compose could not start RabbitMQ.\n{NO_BROKER}")
    try:
        yield
    finally:
        subprocess.run([*compose, "down"], capture_output=True, check=False)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parameters = pika.URLParameters(url)
    return f"amqp://{parameters.credentials.username}@{parameters.host}:{parameters.port}/{parameters.virtual_host}"
