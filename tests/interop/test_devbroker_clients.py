"""Clients and frameworks of others on the devbroker, each doing what it is used for."""

import asyncio
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import aio_pika
import amqp
import kombu
import pika
import pytest
from dramatiq import Worker, actor
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from faststream.rabbit import RabbitBroker
from taskiq.api import run_receiver_task
from taskiq_aio_pika import AioPikaBroker

from amqtask.devbroker.emulate import PROFILES
from amqtask.devbroker.server import Server
from tests.support.eventually import eventually


@pytest.fixture(params=sorted(PROFILES))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A broker of each version that is emulated."""
    with Server(emulate=request.param) as running:
        yield running


def test_pika_publishes_with_confirms_and_consumes(server: Server) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    channel = connection.channel()
    channel.exchange_declare("x", "topic", durable=True)
    channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind("q", "x", "a.#")
    channel.confirm_delivery()
    sent = pika.BasicProperties(content_type="application/json", delivery_mode=2, headers={"n": [1, {"deep": None}]})
    channel.basic_publish("x", "a.b", b"{}", sent, mandatory=True)

    method, properties, body = next(iter(channel.consume("q", inactivity_timeout=30)))
    channel.basic_ack(method.delivery_tag)
    assert (body, properties.headers["n"]) == (b"{}", [1, {"deep": None}])
    connection.close()


def test_py_amqp_publishes_and_drains(server: Server) -> None:
    bodies: list[str] = []
    with amqp.Connection(f"127.0.0.1:{server.port}", confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, auto_delete=False)
        channel.basic_qos(0, 10, False)
        channel.basic_publish_confirm(amqp.Message("hello", delivery_mode=2), routing_key="q")
        channel.basic_consume(
            "q", callback=lambda message: bodies.append(message.body) or channel.basic_ack(message.delivery_tag)
        )
        while not bodies:
            connection.drain_events(timeout=30)
        with pytest.raises(amqp.NotFound):
            channel.queue_declare("missing", passive=True)
    assert bodies == ["hello"]


def test_kombu_publishes_consumes_and_broadcasts(server: Server) -> None:
    got: list[Any] = []
    with kombu.Connection(server.url) as connection:
        exchange = kombu.Exchange("events", "fanout")
        queues = [kombu.Queue(name, exchange) for name in ("one", "two")]
        with kombu.Consumer(connection, queues, callbacks=[lambda body, message: got.append(body) or message.ack()]):
            connection.Producer().publish({"hello": "world"}, exchange=exchange, compression="zlib", retry=True)
            while len(got) < 2:
                connection.drain_events(timeout=30)
    assert got == [{"hello": "world"}] * 2


CELERY = """
    from celery import Celery
    app = Celery("tasks", broker={url!r}, backend="rpc://")
    app.conf.update(
        worker_prefetch_multiplier=2,
        task_default_queue_type={queue_type!r},
        broker_transport_options={{"confirm_publish": True}},
        broker_connection_retry_on_startup=True,
    )

    @app.task
    def add(x, y):
        return x + y

    @app.task(bind=True, max_retries=3, default_retry_delay=0)
    def flaky(self):
        if self.request.retries < 2:
            raise self.retry()
        return self.request.retries
"""


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_celery_worker_and_its_client(server: Server, queue_type: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(CELERY).format(url=server.url, queue_type=queue_type))
    script = textwrap.dedent("""
        from tasks import add, app, flaky
        from celery import group
        sums = group(add.s(i, i) for i in range(5))()
        print(add.delay(2, 3).get(timeout=60), sums.get(timeout=60), flaky.delay().get(timeout=60))
        pongs = app.control.broadcast("ping", reply=True, timeout=60, limit=1)
        print(list(pongs[0].values()), app.control.inspect(timeout=60, limit=1).registered() is not None)
    """)
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "WARNING"]
    with open(tmp_path / "worker.log", "wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            client = subprocess.run(
                [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
            )
        finally:
            worker.terminate()
            worker.wait(60)
    seen = client.stderr + (tmp_path / "worker.log").read_text()
    assert client.stdout.splitlines() == ["5 [0, 2, 4, 6, 8] 2", "[{'ok': 'pong'}] True"], seen


def test_dramatiq_works_with_delays_and_retries(server: Server) -> None:
    broker = RabbitmqBroker(url=server.url, confirm_delivery=True)
    done: list[tuple[str, int]] = []

    @actor(broker=broker, max_retries=2, min_backoff=10, max_backoff=20)  # type: ignore[untyped-decorator]  # no types there
    def note(name: str) -> None:
        done.append((name, len(done)))
        if len(done) == 1:
            raise RuntimeError("once more")

    worker = Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    note.send("first")
    note.send_with_options(args=("later",), delay=50)
    eventually(lambda: sorted(name for name, _ in done) == ["first", "first", "later"], message=lambda: str(done))
    worker.stop()
    broker.close()


def test_aio_pika_consumes_confirms_and_calls(server: Server) -> None:
    async def run() -> list[bytes]:
        got: list[bytes] = []
        connection = await aio_pika.connect_robust(server.url)
        async with connection:
            channel = await connection.channel(publisher_confirms=True)
            await channel.set_qos(prefetch_count=5)
            queue = await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
            for number in range(10):
                await channel.default_exchange.publish(
                    aio_pika.Message(b"%d" % number, delivery_mode=2), routing_key="q"
                )
            async with queue.iterator(timeout=30) as messages:
                async for message in messages:
                    async with message.process():
                        got.append(message.body)
                    if len(got) == 10:
                        break
        return got

    assert asyncio.run(run()) == [b"%d" % number for number in range(10)]


def test_taskiq_sends_a_task_to_its_worker(server: Server) -> None:
    async def run() -> list[int]:
        done: list[int] = []
        came = asyncio.Event()
        broker = AioPikaBroker(server.url)

        @broker.task
        async def note(number: int) -> None:
            done.append(number)
            came.set()

        broker.is_worker_process = True
        await broker.startup()
        receiver = asyncio.create_task(run_receiver_task(broker))
        await note.kiq(7)
        await asyncio.wait_for(came.wait(), 30)
        receiver.cancel()
        await broker.shutdown()
        return done

    assert asyncio.run(run()) == [7]


def test_faststream_subscribes_publishes_and_requests(server: Server) -> None:
    async def run() -> tuple[list[str], object]:
        got: list[str] = []
        came = asyncio.Event()
        broker = RabbitBroker(server.url, logger=None)

        @broker.subscriber("in")
        async def handle(text: str) -> str:
            got.append(text)
            came.set()
            return text.upper()

        async with broker:
            await broker.start()
            await broker.publish("hello", "in")
            await asyncio.wait_for(came.wait(), 30)
            answer = await broker.request("again", "in", timeout=30)
            return got, await answer.decode()

    assert asyncio.run(run()) == (["hello", "again"], "AGAIN")
