"""taskiq with taskiq-aio-pika: processes × one event loop; results in Redis."""

import asyncio
import time
from collections.abc import Sequence

import uvloop
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType
from taskiq_redis import RedisAsyncResultBackend

from benchmarks import work
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant

DISTRIBUTIONS = ("taskiq", "taskiq-aio-pika", "aio-pika", "aiormq", "taskiq-redis", "uvloop")
JOB = Job.from_environment()

#: Publications that are awaited together.
WINDOW = 1000
COMMAND = (
    *("{bin}/taskiq", "worker", "benchmarks.peers.taskiq:broker", "--workers", "{processes}"),
    *("--max-async-tasks", "{in_flight}", "--log-level", "WARNING"),
)
GUARANTEES = Guarantees(persistent=True, confirmed=True, mandatory=False, late_ack=True)


def _variant(name: str, features: frozenset[Feature], settings: str) -> Variant:
    return Variant(
        name=name,
        worker=COMMAND,
        guarantees=GUARANTEES,
        features=features,
        settings=settings,
        queues=("{queue}", "{queue}.dead", "{queue}.delay"),
        exchanges=("{queue}",),
    )


VARIANTS = (
    _variant(
        "taskiq",
        frozenset(
            {
                Feature.CONSUME,
                Feature.FOOTPRINT,
                Feature.PUBLISH,
                Feature.QUORUM,
                Feature.PAYLOAD,
                Feature.NAP,
                Feature.BURN,
                Feature.DELAY,
            }
        ),
        f"{{processes}} processes, qos and --max-async-tasks {{in_flight}}, uvloop, acks when saved, no results; "
        f"bulk: {WINDOW} publications awaited together; a message without a queue raises nothing",
    ),
    _variant("taskiq-redis", frozenset({Feature.RESULTS}), "as taskiq, results in Redis"),
)

broker = AioPikaBroker(
    JOB.url,
    qos=JOB.in_flight,
    exchange=Exchange(name=JOB.queue),
    task_queues=[Queue(name=JOB.queue, type=QueueType(JOB.queue_type))],
    dead_letter_queue=Queue(name=f"{JOB.queue}.dead", type=QueueType.CLASSIC),
    delay_queue=Queue(name=f"{JOB.queue}.delay", type=QueueType(JOB.queue_type)),
)
if JOB.subject.endswith("redis"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(JOB.redis_url))


@broker.task(task_name="noop")
async def noop(index: int, payload: str = "") -> None:
    work.mark(index)


@broker.task(task_name="nap")
async def nap(index: int, seconds: float) -> None:
    await asyncio.sleep(seconds)
    work.mark(index)


@broker.task(task_name="burn")
async def burn(index: int, seconds: float) -> None:
    work.burn(seconds)
    work.mark(index)


@broker.task(task_name="echo")
async def echo(value: int) -> int:
    return value


TASKS = {"noop": noop, "nap": nap, "burn": burn, "echo": echo}


class TaskiqClient:
    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def declare(self) -> None:
        self._runner.run(broker.startup())

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        self._runner.run(self._send_each(task, calls))

    async def _send_each(self, task: str, calls: Sequence[Call]) -> None:
        send = TASKS[task].kiq
        for call in calls:
            await send(*call)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        self._runner.run(self._send_bulk(task, calls))

    async def _send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        send = TASKS[task].kiq
        for first in range(0, len(calls), WINDOW):
            await asyncio.gather(*(send(*call) for call in calls[first : first + WINDOW]))

    def send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        self._runner.run(self._send_delayed(task, calls, due))

    async def _send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        for first in range(0, len(calls), WINDOW):
            kicker = TASKS[task].kicker().with_labels(delay=due - time.time())
            await asyncio.gather(*(kicker.kiq(*call) for call in calls[first : first + WINDOW]))

    def flush(self) -> None:
        """Every message was confirmed before the sending returned."""

    def round_trip(self, value: int) -> int:
        return self.fan_out([value])[0]

    def fan_out(self, values: Sequence[int]) -> list[int]:
        return self._runner.run(self._fan_out(values))

    async def _fan_out(self, values: Sequence[int]) -> list[int]:
        sent = await asyncio.gather(*(echo.kiq(value) for value in values))
        # Its default interval of 0.2 s between looks would be all that is measured.
        results = await asyncio.gather(*(task.wait_result(check_interval=0.001, timeout=60) for task in sent))
        return [result.return_value for result in results]

    def close(self) -> None:
        self._runner.run(broker.shutdown())
        self._runner.close()


def client() -> TaskiqClient:
    return TaskiqClient()
