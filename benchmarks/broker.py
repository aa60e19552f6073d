"""Broker: a virtual host of its own for the run, and what the harness asks of queues without any peer's help."""

import contextlib
import shutil
import subprocess
import time
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator

import pika

from amqtask.testing.rabbitmq import PrivateRabbitMQ, find_server, free_ports

ORIGINALS = 100
#: A million messages must raise no memory alarm.
ROOMY = {"vm_memory_high_watermark.absolute": "4GB"}
USUAL_URL, USUAL_REDIS_URL = "amqp://guest:guest@127.0.0.1:5672/", "redis://127.0.0.1:6379/9"


class Broker:
    """Short connections only: nothing of the harness stays connected while something is measured."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextlib.contextmanager
    def _channel(self) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def version(self) -> str:
        with self._channel() as channel:
            properties = channel.connection._impl.server_properties
        product, version = properties["product"], properties["version"]
        return f"{_text(product)} {_text(version)}"

    def depth(self, queue: str) -> int:
        """Messages that are ready; those with a consumer do not count."""
        with self._channel() as channel:
            return channel.queue_declare(queue, passive=True).method.message_count

    def wait_for_depth(self, queue: str, depth: int, timeout: float = 60.0) -> int:
        """Unconfirmed messages may still be on their way: wait, then return what there is."""
        deadline = time.monotonic() + timeout
        while (seen := self.depth(queue)) != depth and time.monotonic() < deadline:
            time.sleep(0.05)
        return seen

    def delete(self, queues: Iterable[str], exchanges: Iterable[str]) -> None:
        with self._channel() as channel:
            for queue in queues:
                channel.queue_delete(queue)
            for exchange in exchanges:
                channel.exchange_delete(exchange)

    def multiply(self, queue: str, depth: int) -> None:
        """Fill a queue that holds a few messages up to the depth with copies of them, properties and all."""
        with self._channel() as channel:
            originals = []
            while len(originals) < ORIGINALS:
                method, properties, body = channel.basic_get(queue)
                if method is None:
                    break
                originals.append((properties, body))
            if not originals:
                raise ValueError(f"queue {queue!r} holds no message to copy")
            # The originals go back unacknowledged when the channel closes.
            for copy in range(depth - len(originals)):
                properties, body = originals[copy % len(originals)]
                channel.basic_publish("", queue, body, properties)
        self.wait_for_depth(queue, depth, timeout=600)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def broker_url(url: str) -> Iterator[str]:
    """The given URL, or that of a RabbitMQ that runs for the benchmarks only; its usual one where none is installed."""
    if url or find_server() is None:
        with virtual_host(url or USUAL_URL) as found:
            yield found
        return
    with PrivateRabbitMQ(niceness=0, settings=ROOMY) as node:
        yield node.url


@contextlib.contextmanager
def redis_url(url: str) -> Iterator[str]:
    """The given URL, or that of a Redis that runs for the benchmarks only; its usual one where none is installed."""
    server = shutil.which("redis-server")
    if url or server is None:
        yield url or USUAL_REDIS_URL
        return
    (port,) = free_ports(1)
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
    with subprocess.Popen([server, *options], stdout=subprocess.DEVNULL) as redis:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            redis.terminate()


@contextlib.contextmanager
def virtual_host(url: str) -> Iterator[str]:
    """The URL of a virtual host that exists for the run only; the given one where rabbitmqctl cannot make any."""
    parts = urllib.parse.urlsplit(url)
    name = f"amqtask-benchmarks-{uuid.uuid4().hex[:8]}"
    user = urllib.parse.unquote(parts.username or "guest")
    if parts.hostname not in {"localhost", "127.0.0.1", "::1"} or not _rabbitmqctl("add_vhost", name):
        yield url
        return
    try:
        if not _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*"):
            yield url
            return
        yield urllib.parse.urlunsplit(parts._replace(path="/" + name))
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> bool:
    if shutil.which("rabbitmqctl") is None:
        return False
    try:
        return subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False
