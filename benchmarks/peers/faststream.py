"""FastStream over RabbitMQ: processes × one event loop; its one handler does what the message names."""

import asyncio
import dataclasses
from collections.abc import Sequence

import uvloop
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from benchmarks import work
from benchmarks.job import Job
from benchmarks.peers.base import Call, Feature, Guarantees, Variant

DISTRIBUTIONS = ("faststream", "aio-pika", "aiormq", "uvloop")
JOB = Job.from_environment()

#: Publications that are awaited together.
WINDOW = 1000
PERSISTENT = Variant(
    name="faststream",
    worker=(
        "{bin}/faststream",
        "run",
        "benchmarks.peers.faststream:app",
        "--workers",
        "{processes}",
        "--log-level",
        "warning",
    ),
    guarantees=Guarantees(persistent=True, confirmed=True, mandatory=True, late_ack=True),
    features=frozenset(
        {
            Feature.CONSUME,
            Feature.FOOTPRINT,
            Feature.PUBLISH,
            Feature.QUORUM,
            Feature.PAYLOAD,
            Feature.NAP,
            Feature.BURN,
            Feature.RESULTS,
        }
    ),
    settings=f"{{processes}} processes, prefetch {{in_flight}}, uvloop, persist=True, reject_on_error (acks late), "
    f"on_return_raises, results by direct reply-to; bulk: {WINDOW} publications awaited together",
)
VARIANTS = (
    PERSISTENT,
    dataclasses.replace(
        PERSISTENT,
        name="faststream-transient",
        features=frozenset({Feature.CONSUME, Feature.PUBLISH, Feature.NAP}),
        guarantees=dataclasses.replace(PERSISTENT.guarantees, persistent=False),
        settings="as faststream, with its default of transient messages",
    ),
)
PERSIST = JOB.subject != "faststream-transient"

broker = RabbitBroker(
    JOB.url,
    logger=None,
    default_channel=Channel(prefetch_count=JOB.in_flight, on_return_raises=True),
    graceful_timeout=5,
)
queue = RabbitQueue(JOB.queue, queue_type=QueueType(JOB.queue_type), durable=True)
app = FastStream(broker, logger=None)


@broker.subscriber(queue, ack_policy=AckPolicy.REJECT_ON_ERROR)
async def handle(task: str, arguments: list[int | float | str]) -> int | None:
    match task, arguments:
        case "noop", [index, *_]:
            work.mark(index)
        case "nap", [index, seconds]:
            await asyncio.sleep(seconds)
            work.mark(index)
        case "burn", [index, seconds]:
            work.burn(seconds)
            work.mark(index)
        case "echo", [value]:
            return value
        case _:
            raise ValueError(f"no such task: {task}")
    return None


class FastStreamClient:
    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def declare(self) -> None:
        self._runner.run(self._declare())

    async def _declare(self) -> None:
        await broker.connect()
        await broker.declare_queue(queue)

    async def _send(self, task: str, call: Call) -> None:
        await broker.publish({"task": task, "arguments": call}, JOB.queue, persist=PERSIST)

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        self._runner.run(self._send_each(task, calls))

    async def _send_each(self, task: str, calls: Sequence[Call]) -> None:
        for call in calls:
            await self._send(task, call)

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        self._runner.run(self._send_bulk(task, calls))

    async def _send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        for first in range(0, len(calls), WINDOW):
            await asyncio.gather(*(self._send(task, call) for call in calls[first : first + WINDOW]))

    def flush(self) -> None:
        """Every message was confirmed before the sending returned."""

    def round_trip(self, value: int) -> int:
        return self.fan_out([value])[0]

    def fan_out(self, values: Sequence[int]) -> list[int]:
        return self._runner.run(self._fan_out(values))

    async def _fan_out(self, values: Sequence[int]) -> list[int]:
        return list(await asyncio.gather(*(self._request(value) for value in values)))

    async def _request(self, value: int) -> int:
        message = {"task": "echo", "arguments": [value]}
        answer = await broker.request(message, JOB.queue, persist=PERSIST, timeout=60)
        return await answer.decode()

    def close(self) -> None:
        self._runner.run(broker.stop())
        self._runner.close()


def client() -> FastStreamClient:
    return FastStreamClient()
