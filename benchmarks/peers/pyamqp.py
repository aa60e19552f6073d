"""Bare py-amqp, the other floor: the same as ``pika`` over the other driver."""

import signal
import threading
import urllib.parse
from collections.abc import Sequence

import amqp

from benchmarks import message
from benchmarks.confirms import Confirms
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant
from benchmarks.work import mark_byte

DISTRIBUTIONS = ("amqp",)
JOB = Job.from_environment()
WINDOW, STRIDE = 1000, 50


def _variant(name: str, every: int, features: set[Feature], settings: str) -> Variant:
    return Variant(
        name=name,
        worker=("{python}", "-m", "benchmarks.peers.pyamqp"),
        one_process_each=True,
        guarantees=Guarantees(persistent=True, confirmed=True, mandatory=True, late_ack=True),
        features=frozenset({Feature.CONSUME, Feature.QUORUM} | features),
        settings=settings,
        options={"every": every},
    )


VARIANTS = (
    _variant(
        "pyamqp-ack-each",
        1,
        {Feature.PUBLISH},
        "messages of a task's size and headers, prefetch {in_flight}, one ack a message; "
        "one by one: basic_publish_confirm; "
        f"bulk: confirm.select and basic_publish, {WINDOW} unconfirmed at once",
    ),
    _variant(
        "pyamqp-ack-20",
        20,
        {Feature.PAYLOAD, Feature.FOOTPRINT},
        "prefetch {in_flight}, one multiple ack in twenty; publishing as pyamqp-ack-each",
    ),
)


def connect(*, confirm: bool = False) -> amqp.Connection:
    parts = urllib.parse.urlsplit(JOB.url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port or 5672}",
        userid=urllib.parse.unquote(parts.username or "guest"),
        password=urllib.parse.unquote(parts.password or "guest"),
        virtual_host=urllib.parse.unquote(parts.path[1:]) or "/",
        confirm_publish=confirm,
    )
    connection.connect()
    return connection


def declare(channel: amqp.Channel) -> None:
    channel.queue_declare(JOB.queue, durable=True, auto_delete=False, arguments={"x-queue-type": JOB.queue_type})


def to_message(call: Call) -> amqp.Message:
    return amqp.Message(
        message.body(call),
        delivery_mode=2,
        content_type="application/json",
        application_headers=message.headers(call),
    )


class Pipeline:
    """Publish with many confirms outstanding, reading them in between."""

    def __init__(self) -> None:
        self._connection = connect()
        self._channel = self._connection.channel()
        self._confirms = Confirms()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirms.acknowledge)
        self._channel.events["basic_return"].add(self._returned)

    def _returned(self, *_: object) -> None:
        raise RuntimeError("a message came back")

    def send(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if self._confirms.outstanding >= WINDOW:
                self._drain(WINDOW - STRIDE)
            self._confirms.sent += 1
            self._channel.basic_publish(to_message(call), "", JOB.queue, mandatory=True)
        self._drain(0)

    def _drain(self, outstanding: int) -> None:
        while self._confirms.outstanding > outstanding:
            self._connection.drain_events(timeout=30)

    def close(self) -> None:
        self._connection.close()


class AmqpClient:
    def declare(self) -> None:
        self._connection = connect(confirm=True)
        self._channel = self._connection.channel()
        declare(self._channel)
        self._pipeline: Pipeline | None = None

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        for call in calls:
            self._channel.basic_publish_confirm(to_message(call), "", JOB.queue, mandatory=True)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        self._pipeline = self._pipeline or Pipeline()
        self._pipeline.send(calls)

    def flush(self) -> None:
        """Every message was confirmed before the sending returned."""

    def close(self) -> None:
        self._connection.close()
        if self._pipeline is not None:
            self._pipeline.close()


def client() -> AmqpClient:
    return AmqpClient()


def consume() -> None:
    every = next(variant.options["every"] for variant in VARIANTS if variant.name == JOB.subject)
    connection = connect()
    channel = connection.channel()
    declare(channel)
    channel.basic_qos(0, JOB.in_flight, False)
    finished = last = acknowledged = 0
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def deliver(delivery: amqp.Message) -> None:
        nonlocal finished, last, acknowledged
        mark_byte(delivery.body[:1])
        finished, last = finished + 1, delivery.delivery_tag
        if finished % every == 0:
            channel.basic_ack(last, multiple=every > 1)
            acknowledged = finished

    channel.basic_consume(JOB.queue, callback=deliver)
    while acknowledged != finished or not stopping.is_set():
        try:
            connection.drain_events(timeout=0.05)
        except TimeoutError:
            # Nothing new: what is left of the last twenty must not wait for more.
            if acknowledged != finished:
                channel.basic_ack(last, multiple=True)
                acknowledged = finished
    connection.close()


if __name__ == "__main__":
    consume()
