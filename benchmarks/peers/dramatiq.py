"""dramatiq: processes × threads, with its default middleware and prefetch; results in Redis."""

import time
from collections.abc import Sequence
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks import work
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant

DISTRIBUTIONS = ("dramatiq", "pika")
JOB = Job.from_environment()

THREADS = 8
COMMAND = (
    "{bin}/dramatiq",
    "benchmarks.peers.dramatiq",
    "--processes",
    "{processes}",
    "--threads",
    str(THREADS),
    "--queues",
    "{queue}",
)


def _variant(name: str, features: frozenset[Feature], settings: str, *, confirmed: bool = False) -> Variant:
    return Variant(
        name=name,
        worker=COMMAND,
        guarantees=Guarantees(persistent=True, confirmed=confirmed, mandatory=confirmed, late_ack=True),
        environment={"dramatiq_queue_prefetch": "{in_flight}"},
        features=features,
        settings=settings,
        queues=("{queue}", "{queue}.DQ", "{queue}.XQ"),
    )


VARIANTS = (
    _variant(
        "dramatiq",
        frozenset({Feature.CONSUME, Feature.FOOTPRINT, Feature.PUBLISH, Feature.PAYLOAD, Feature.BURN, Feature.DELAY}),
        f"{{processes}} processes × {THREADS} threads, default middleware, dramatiq_queue_prefetch {{in_flight}}"
        " (the default of 2 a thread is slower)",
    ),
    _variant("dramatiq-confirmed", frozenset({Feature.PUBLISH}), "confirm_delivery=True", confirmed=True),
    _variant("dramatiq-redis", frozenset({Feature.RESULTS, Feature.CHAIN}), "as dramatiq, with Results in Redis"),
)
VARIANT = next((variant for variant in VARIANTS if variant.name == JOB.subject), VARIANTS[0])
STORES = VARIANT.name.endswith("redis")

broker = RabbitmqBroker(url=JOB.url, confirm_delivery=VARIANT.guarantees.confirmed)
if STORES:
    broker.add_middleware(Results(backend=RedisBackend(url=JOB.redis_url), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=JOB.queue)
def noop(index: int, payload: str = "") -> None:
    work.mark(index)


@dramatiq.actor(queue_name=JOB.queue)
def burn(index: int, seconds: float) -> None:
    work.burn(seconds)
    work.mark(index)


@dramatiq.actor(queue_name=JOB.queue)
def echo(value: int) -> int:
    return value


@dramatiq.actor(queue_name=JOB.queue)
def increment(value: int) -> int:
    return value + 1


class DramatiqClient:
    def declare(self) -> None:
        broker.declare_queue(JOB.queue, ensure=True)

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        send = broker.get_actor(task).send
        for call in calls:
            send(*call)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        # It has no other way.
        self.send_each(task, calls)

    def send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        actor = broker.get_actor(task)
        for call in calls:
            actor.send_with_options(args=call, delay=int(1000 * (due - time.time())))

    def flush(self) -> None:
        broker.channel.queue_declare(JOB.queue, passive=True)

    def round_trip(self, value: int) -> int:
        return self._result(echo.send(value))

    def fan_out(self, values: Sequence[int]) -> list[int]:
        messages = [echo.send(value) for value in values]
        return [self._result(message) for message in messages]

    def chain(self, length: int) -> int:
        pipe = dramatiq.pipeline([increment.message(0), *(increment.message() for _ in range(length - 1))]).run()
        return pipe.get_result(block=True, timeout=120_000)

    def close(self) -> None:
        broker.close()

    def _result(self, message: dramatiq.Message[Any]) -> Any:
        return message.get_result(block=True, timeout=120_000)


def client() -> DramatiqClient:
    return DramatiqClient()
