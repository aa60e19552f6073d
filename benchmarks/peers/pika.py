"""Bare pika, the floor: a task's bytes and no framework; consume and acknowledge, publish and be confirmed."""

import signal
import threading
from collections import deque
from collections.abc import Sequence

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from benchmarks import message
from benchmarks.confirms import Confirms
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant
from benchmarks.work import mark_byte

DISTRIBUTIONS = ("pika",)
JOB = Job.from_environment()
#: Publications that may await their confirm at once, and how many are written before the loop turns.
WINDOW, STRIDE = 1000, 50


def _variant(name: str, every: int, features: set[Feature], settings: str) -> Variant:
    return Variant(
        name=name,
        worker=("{python}", "-m", "benchmarks.peers.pika"),
        one_process_each=True,
        guarantees=Guarantees(persistent=True, confirmed=True, mandatory=True, late_ack=True),
        features=frozenset({Feature.CONSUME, Feature.QUORUM} | features),
        settings=settings,
        options={"every": every},
    )


VARIANTS = (
    _variant(
        "pika-ack-each",
        1,
        {Feature.PUBLISH},
        "messages of a task's size and headers, BlockingConnection, prefetch {in_flight}, "
        "one ack a message; one by one: BlockingChannel.confirm_delivery; "
        f"bulk: SelectConnection, {WINDOW} unconfirmed at once",
    ),
    _variant(
        "pika-ack-20",
        20,
        {Feature.PAYLOAD, Feature.FOOTPRINT},
        "BlockingConnection, prefetch {in_flight}, one multiple ack in twenty; publishing as pika-ack-each",
    ),
)


def declare(channel: BlockingChannel) -> None:
    channel.queue_declare(JOB.queue, durable=True, arguments={"x-queue-type": JOB.queue_type})


def properties(call: Call) -> BasicProperties:
    return BasicProperties(delivery_mode=2, content_type="application/json", headers=message.headers(call))


class Pipeline:
    """Publish with many confirms outstanding. Everything happens in callbacks of the connection's own loop."""

    def __init__(self, url: str) -> None:
        self._todo: deque[Call] = deque()
        self._confirms = Confirms()
        self._channel: Channel | None = None
        self._connection = SelectConnection(
            pika.URLParameters(url), on_open_callback=self._opened, on_close_callback=self._closed
        )
        self._connection.ioloop.start()

    def _opened(self, connection: SelectConnection) -> None:
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._settled, callback=self._selected)

    def _selected(self, _: Method) -> None:
        self._connection.ioloop.stop()

    def _closed(self, _: SelectConnection, __: Exception) -> None:
        self._connection.ioloop.stop()

    def _returned(self, *_: object) -> None:
        raise RuntimeError("a message came back")

    def _settled(self, frame: Method) -> None:
        if not isinstance(frame.method, Basic.Ack):
            raise RuntimeError("a message was refused")  # noqa: TRY004  (nobody passed a wrong type)
        self._confirms.acknowledge(frame.method.delivery_tag, frame.method.multiple)
        if self._todo:
            if self._confirms.outstanding <= WINDOW - STRIDE:
                self._fill()
        elif not self._confirms.outstanding:
            self._connection.ioloop.stop()

    def _fill(self) -> None:
        while self._todo and self._confirms.outstanding < WINDOW:
            self._confirms.sent += 1
            call = self._todo.popleft()
            self._channel.basic_publish("", JOB.queue, message.body(call), properties(call), mandatory=True)

    def send(self, calls: Sequence[Call]) -> None:
        self._todo.extend(calls)
        self._fill()
        self._connection.ioloop.start()

    def close(self) -> None:
        self._connection.close()
        self._connection.ioloop.start()


class PikaClient:
    def declare(self) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(JOB.url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        declare(self._channel)
        self._pipeline: Pipeline | None = None

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        for call in calls:
            self._channel.basic_publish("", JOB.queue, message.body(call), properties(call), mandatory=True)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        self._pipeline = self._pipeline or Pipeline(JOB.url)
        self._pipeline.send(calls)

    def flush(self) -> None:
        """Every message was confirmed before the sending returned."""

    def close(self) -> None:
        self._connection.close()
        if self._pipeline is not None:
            self._pipeline.close()


def client() -> PikaClient:
    return PikaClient()


def consume() -> None:
    every = next(variant.options["every"] for variant in VARIANTS if variant.name == JOB.subject)
    connection = pika.BlockingConnection(pika.URLParameters(JOB.url))
    channel = connection.channel()
    declare(channel)
    channel.basic_qos(prefetch_count=JOB.in_flight)
    finished = last = acknowledged = 0
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def deliver(channel: BlockingChannel, method: Basic.Deliver, _: BasicProperties, content: bytes) -> None:
        nonlocal finished, last, acknowledged
        mark_byte(content[:1])
        finished, last = finished + 1, method.delivery_tag
        if finished % every == 0:
            channel.basic_ack(last, multiple=every > 1)
            acknowledged = finished

    channel.basic_consume(JOB.queue, deliver)
    while acknowledged != finished or not stopping.is_set():
        before = finished
        connection.process_data_events(time_limit=0.05)
        # Nothing new: what is left of the last twenty must not wait for more.
        if finished == before and acknowledged != finished:
            channel.basic_ack(last, multiple=True)
            acknowledged = finished
    connection.close()


if __name__ == "__main__":
    consume()
