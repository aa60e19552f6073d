"""amqtask: each pool as it starts by default, and rows with the weaker guarantees that its peers have."""

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from amqtask import App, chain, chord
from amqtask.core.declare import DeclareQueue
from amqtask.drivers.base import QuietSink
from benchmarks import work
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant

DISTRIBUTIONS = ("amqtask", "pika", "amqp")
JOB = Job.from_environment()

STRONG = Guarantees(persistent=True, confirmed=True, mandatory=True, late_ack=True)
COMMAND = (
    *("{python}", "-m", "amqtask", "worker", "-A", "benchmarks.peers.amqtask:app", "-Q", "{queue}"),
    *("-l", "warning"),
)
PLAIN = frozenset({Feature.CONSUME, Feature.QUORUM, Feature.PAYLOAD, Feature.BURN})


def _variant(name: str, pool: tuple[str, ...], features: frozenset[Feature], settings: str, **changes: Any) -> Variant:
    plain = Variant(
        name=name,
        worker=(*COMMAND, *pool),
        guarantees=STRONG,
        features=features,
        settings=settings,
        queues=("{queue}",),
    )
    return dataclasses.replace(plain, **changes)


PROCESSES = ("-P", "processes", "-c", "{processes}")
VARIANTS = (
    _variant(
        "amqtask-processes",
        PROCESSES,
        PLAIN | {Feature.FOOTPRINT, Feature.PUBLISH, Feature.RESULTS, Feature.CHORD, Feature.CHAIN, Feature.DELAY},
        "defaults: late acks, confirms, mandatory, prefetch auto, rpc results; bulk publishing in app.batch()",
    ),
    _variant(
        "amqtask-threads", ("-P", "threads", "--processes", "{processes}", "-c", "8"), PLAIN, "8 threads a process"
    ),
    _variant(
        "amqtask-asyncio",
        ("-P", "asyncio", "--processes", "{processes}", "-c", "{in_flight}"),
        PLAIN | {Feature.NAP},
        "{in_flight} coroutines a process",
    ),
    _variant(
        "amqtask-uvloop",
        ("-P", "asyncio", "--processes", "{processes}", "-c", "{in_flight}", "--set", "worker.uvloop=true"),
        frozenset({Feature.CONSUME, Feature.NAP}),
        "as amqtask-asyncio, on uvloop",
    ),
    _variant(
        "amqtask-gevent",
        ("-P", "gevent", "--processes", "{processes}", "-c", "{in_flight}"),
        (PLAIN - {Feature.BURN}) | {Feature.NAP},
        "{in_flight} greenlets a process",
    ),
    _variant(
        "amqtask-eventlet",
        ("-P", "eventlet", "--processes", "{processes}", "-c", "{in_flight}"),
        frozenset({Feature.CONSUME, Feature.NAP}),
        "{in_flight} green threads a process",
    ),
    _variant(
        "amqtask-solo",
        ("-P", "solo"),
        frozenset({Feature.CONSUME, Feature.FOOTPRINT}),
        "one worker a process",
        one_process_each=True,
    ),
    _variant(
        "amqtask-early",
        PROCESSES,
        frozenset({Feature.CONSUME, Feature.QUORUM}),
        "acks_late: false",
        guarantees=dataclasses.replace(STRONG, late_ack=False),
    ),
    _variant(
        "amqtask-optional",
        PROCESSES,
        frozenset({Feature.PUBLISH}),
        "publish.mandatory: false",
        guarantees=dataclasses.replace(STRONG, mandatory=False),
    ),
    _variant(
        "amqtask-unconfirmed",
        PROCESSES,
        frozenset({Feature.PUBLISH}),
        "publish.confirm and publish.mandatory: false",
        guarantees=dataclasses.replace(STRONG, confirmed=False, mandatory=False),
    ),
)
VARIANT = next((variant for variant in VARIANTS if variant.name == JOB.subject), VARIANTS[0])

app = App(
    "bench",
    config={
        "broker": {"url": JOB.url},
        "queues": {JOB.queue: {"type": JOB.queue_type, "dead_letter": False}},
        "tasks": {"default_queue": JOB.queue},
        "worker": {"acks_late": VARIANT.guarantees.late_ack},
        "publish": {
            "confirm": VARIANT.guarantees.confirmed,
            "mandatory": VARIANT.guarantees.mandatory,
            "timeout": "120s",
        },
        "log": {"level": "WARNING"},
    },
)


@app.task(name="noop", ignore_result=True)
def noop(index: int, payload: str = "") -> None:
    work.mark(index)


if VARIANT.name in {"amqtask-gevent", "amqtask-eventlet"}:

    @app.task(name="nap", ignore_result=True)
    def green_nap(index: int, seconds: float) -> None:
        time.sleep(seconds)
        work.mark(index)
else:

    @app.task(name="nap", ignore_result=True)
    async def nap(index: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        work.mark(index)


@app.task(name="burn", ignore_result=True)
def burn(index: int, seconds: float) -> None:
    work.burn(seconds)
    work.mark(index)


@app.task(name="echo")
def echo(value: int) -> int:
    return value


@app.task(name="increment")
def increment(value: int) -> int:
    return value + 1


@app.task(name="total")
def total(values: list[int]) -> int:
    return sum(values)


class AmqtaskClient:
    def declare(self) -> None:
        options = app.session_options
        connection = options.driver.connect(options.addresses[0], 10)
        connection.channel(QuietSink(), confirms=False).declare(
            DeclareQueue(name=JOB.queue, arguments={"x-queue-type": JOB.queue_type})
        )
        connection.close()

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        send = app.tasks[task].delay
        for call in calls:
            send(*call)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        send = app.tasks[task].delay
        with app.batch():
            for call in calls:
                send(*call)

    def send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        send = app.tasks[task].apply_async
        with app.batch():
            for call in calls:
                send(call, countdown=due - time.time())

    def flush(self) -> None:
        app.publisher.flush(60)

    def round_trip(self, value: int) -> int:
        return echo.delay(value).get(timeout=60)

    def fan_out(self, values: Sequence[int]) -> list[int]:
        with app.batch():
            results = [echo.delay(value) for value in values]
        return [result.get(timeout=120) for result in results]

    def chord(self, values: Sequence[int]) -> int:
        return chord([echo.s(value) for value in values], total.s()).delay().get(timeout=120)

    def chain(self, length: int) -> int:
        return chain(increment.s(0), *(increment.s() for _ in range(length - 1))).delay().get(timeout=120)

    def close(self) -> None:
        app.close()


def client() -> AmqtaskClient:
    return AmqtaskClient()
