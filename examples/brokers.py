"""Finds a RabbitMQ for an example. Programs of your own know where theirs is and need none of this."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pika

from amqtask.devbroker.server import Server
from amqtask.testing.rabbitmq import PrivateRabbitMQ, find_server, takes_login

VARIABLE = "AMQTASK_BROKER_URL"
LOCAL = "amqp://guest:guest@localhost:5672/"


class NoBroker(Exception):
    """The broker cannot be reached."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that takes connections, and how it was found."""

    url: str
    what: str


@contextmanager
def find_broker(*, embedded: bool = False) -> Iterator[Broker]:
    """The broker that is named, the one on localhost, or a private node; where there is no RabbitMQ, amqtask's own.

    `embedded`: amqtask's own in any case. The last two end with the block.
    """
    if embedded:
        with Server() as server:
            yield Broker(server.url, "amqtask's own, in memory, as was asked for")
    elif url := os.environ.get(VARIABLE):
        yield Broker(url, f"{without_password(url)} (named by {VARIABLE})")
    elif takes_login("localhost", 5672):
        yield Broker(LOCAL, "RabbitMQ on localhost:5672")
    elif find_server():
        with PrivateRabbitMQ() as node:
            yield Broker(node.url, f"a private RabbitMQ on port {node.port}, for as long as this runs")
    else:
        with Server() as server:
            yield Broker(server.url, "amqtask's own, in memory, because there is no RabbitMQ here")


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parameters = pika.URLParameters(url)
    return f"amqp://{parameters.credentials.username}@{parameters.host}:{parameters.port}/{parameters.virtual_host}"
