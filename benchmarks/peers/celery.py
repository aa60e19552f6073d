"""Celery: prefork, threads and gevent pools, results over RPC and Redis.

Settings follow its "Optimizing" guide for many short tasks: a large prefetch multiplier, no results where nobody
reads them. The lean variant leaves out what a single worker can do without.
"""

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import celery
import kombu

from benchmarks import work
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant

DISTRIBUTIONS = ("celery", "kombu", "amqp", "billiard", "gevent")
JOB = Job.from_environment()

LATE = Guarantees(persistent=True, confirmed=False, mandatory=False, late_ack=True)
PREFETCH_MULTIPLIER = 64
COMMAND = (
    *("{bin}/celery", "-A", "benchmarks.peers.celery", "worker", "-Q", "{queue}", "-l", "WARNING"),
    *("-n", "{queue}.{number}@localhost"),
)
PLAIN = frozenset({Feature.CONSUME, Feature.FOOTPRINT, Feature.QUORUM, Feature.PAYLOAD, Feature.BURN, Feature.DELAY})


def _variant(name: str, pool: tuple[str, ...], features: frozenset[Feature], settings: str, **changes: Any) -> Variant:
    plain = Variant(
        name=name,
        worker=(*COMMAND, *pool),
        guarantees=LATE,
        features=features,
        settings=settings,
        queues=("{queue}",),
        exchanges=("{queue}",),
    )
    return dataclasses.replace(plain, **changes)


LEAN = ("--without-gossip", "--without-mingle", "--without-heartbeat")
PREFORK = ("-P", "prefork", "-c", "{processes}")
VARIANTS = (
    _variant(
        "celery-prefork",
        PREFORK,
        PLAIN | {Feature.PUBLISH, Feature.RESULTS, Feature.CHAIN},
        f"acks_late, worker_prefetch_multiplier {PREFETCH_MULTIPLIER}, rpc:// results (ignored for no-ops); "
        "bulk publishing with one pooled producer",
    ),
    _variant(
        "celery-prefork-lean",
        (*PREFORK, *LEAN),
        frozenset({Feature.CONSUME, Feature.FOOTPRINT}),
        f"as celery-prefork, with {' '.join(LEAN)} and no remote control",
        options={"worker_enable_remote_control": False},
    ),
    _variant(
        "celery-prefork-early",
        PREFORK,
        frozenset({Feature.CONSUME, Feature.QUORUM}),
        "as celery-prefork, with Celery's default of early acks",
        guarantees=dataclasses.replace(LATE, late_ack=False),
    ),
    _variant(
        "celery-prefork-confirmed",
        PREFORK,
        frozenset({Feature.PUBLISH}),
        "as celery-prefork, broker_transport_options confirm_publish",
        guarantees=dataclasses.replace(LATE, confirmed=True),
    ),
    _variant(
        "celery-prefork-redis",
        PREFORK,
        frozenset({Feature.RESULTS, Feature.CHAIN, Feature.CHORD}),
        "as celery-prefork, results in Redis",
    ),
    _variant(
        "celery-threads",
        ("-P", "threads", "-c", "8"),
        PLAIN,
        f"one worker a process, 8 threads, acks_late, worker_prefetch_multiplier {PREFETCH_MULTIPLIER}",
        one_process_each=True,
    ),
    _variant(
        "celery-gevent",
        ("-P", "gevent", "-c", "{in_flight}", *LEAN),
        (PLAIN - {Feature.BURN}) | {Feature.NAP},
        "one worker a process, {in_flight} greenlets, acks_late, worker_prefetch_multiplier 2, lean "
        "(with gossip, remote control or heartbeat, 5.7.0 was seen to run ten tasks a second)",
        one_process_each=True,
        options={"worker_prefetch_multiplier": 2, "worker_enable_remote_control": False},
    ),
)
VARIANT = next((variant for variant in VARIANTS if variant.name == JOB.subject), VARIANTS[0])

app = celery.Celery(
    "benchmarks.peers.celery", broker=JOB.url, backend=JOB.redis_url if VARIANT.name.endswith("redis") else "rpc://"
)
app.conf.update(
    task_queues=[
        kombu.Queue(JOB.queue, kombu.Exchange(JOB.queue), JOB.queue, queue_arguments={"x-queue-type": JOB.queue_type})
    ],
    task_default_queue=JOB.queue,
    task_default_exchange=JOB.queue,
    task_default_routing_key=JOB.queue,
    task_acks_late=VARIANT.guarantees.late_ack,
    worker_prefetch_multiplier=min(
        JOB.in_flight, VARIANT.options.get("worker_prefetch_multiplier", PREFETCH_MULTIPLIER)
    ),
    broker_transport_options={"confirm_publish": VARIANT.guarantees.confirmed},
    worker_enable_remote_control=VARIANT.options.get("worker_enable_remote_control", True),
    result_expires=600,
)


@app.task(ignore_result=True, name="noop")
def noop(index: int, payload: str = "") -> None:
    work.mark(index)


@app.task(ignore_result=True, name="nap")
def nap(index: int, seconds: float) -> None:
    time.sleep(seconds)
    work.mark(index)


@app.task(ignore_result=True, name="burn")
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


class CeleryClient:
    def declare(self) -> None:
        with app.connection_for_write() as connection:
            app.amqp.queues[JOB.queue](connection.default_channel).declare()

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        send = app.tasks[task].delay
        for call in calls:
            send(*call)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        with app.producer_or_acquire() as producer:
            send = functools.partial(app.tasks[task].apply_async, producer=producer)
            for call in calls:
                send(call)

    def send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        with app.producer_or_acquire() as producer:
            for call in calls:
                app.tasks[task].apply_async(call, countdown=due - time.time(), producer=producer)

    def flush(self) -> None:
        with app.producer_or_acquire() as producer:
            producer.channel.queue_declare(JOB.queue, passive=True)

    def round_trip(self, value: int) -> int:
        return echo.delay(value).get(timeout=60)

    def fan_out(self, values: Sequence[int]) -> list[int]:
        return celery.group(echo.s(value) for value in values)().get(timeout=120)

    def chord(self, values: Sequence[int]) -> int:
        return celery.chord((echo.s(value) for value in values), total.s())().get(timeout=120)

    def chain(self, length: int) -> int:
        first, *rest = [increment.s(0), *(increment.s() for _ in range(length - 1))]
        return celery.chain(first, *rest)().get(timeout=120)

    def close(self) -> None:
        app.close()


def client() -> CeleryClient:
    return CeleryClient()
