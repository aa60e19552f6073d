"""Job: what one sample runs with, handed to every process of it through the environment."""

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Literal, Self

VARIABLE = "AMQTASK_BENCHMARK_JOB"

QueueType = Literal["classic", "quorum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sample's circumstances. An adapter reads it once, when it is imported."""

    subject: str
    url: str
    redis_url: str
    queue: str
    queue_type: QueueType = "classic"
    processes: int = 2
    #: Tasks that one worker process may hold at once: prefetch, and concurrency of the async pools.
    in_flight: int = 200
    #: The append-only file in which every finished task leaves one byte.
    marks: str = os.devnull

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_environment(cls) -> Self:
        """Raises KeyError outside a benchmark: adapters are of no use there."""
        return cls(**json.loads(os.environ[VARIABLE]))
