"""Stage: one sample's broker objects, marks, clients and worker; everything is gone when it is left."""

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.broker import Broker
from benchmarks.job import Job, QueueType
from benchmarks.marks import Marks
from benchmarks.subject import ROOT, Subject
from benchmarks.worker import Worker

CLIENT_TIMEOUT = 900.0


class SampleFailed(Exception):
    """A sample that says nothing: a client failed, tasks were lost or ran twice."""


class Stage:
    def __init__(self, *, subject: Subject, job: Job, python: str, broker: Broker, folder: Path) -> None:
        self.subject = subject
        self.job = job
        self.broker = broker
        self.marks = Marks(Path(job.marks))
        self._python = python
        self._environment = subject.environment(job, python)
        self._log = folder / "worker.log"
        self._clients: list[subprocess.Popen[str]] = []

    def client(self, action: str, **arguments: object) -> dict[str, Any]:
        """Run one client to its end."""
        return self.finish(self.start_client(action, **arguments))

    def start_client(self, action: str, **arguments: object) -> subprocess.Popen[str]:
        command = [self._python, "-m", "benchmarks.client", action, json.dumps(arguments)]
        started = subprocess.Popen(
            command, env=self._environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._clients.append(started)
        return started

    def finish(self, client: subprocess.Popen[str]) -> dict[str, Any]:
        try:
            output, errors = client.communicate(timeout=CLIENT_TIMEOUT)
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            raise SampleFailed(f"the client took more than {CLIENT_TIMEOUT:.0f} s") from None
        if client.returncode:
            raise SampleFailed("the client failed:\n" + "\n".join(errors.splitlines()[-15:]))
        figures: dict[str, Any] = json.loads(output.splitlines()[-1])
        return figures

    def close(self) -> None:
        """End the clients that a failed sample left behind."""
        for client in self._clients:
            if client.poll() is None:
                client.kill()
                client.communicate()

    def worker(self) -> Worker:
        return Worker(self.subject.commands(self.job, self._python), self._environment, self._log, self.marks)

    def expect_depth(self, count: int) -> None:
        """Every message that was sent is in the queue, once."""
        seen = self.broker.wait_for_depth(self.job.queue, count)
        if seen != count:
            raise SampleFailed(f"{seen} of {count} messages are in the queue")

    def check(self, count: int) -> None:
        """To be called when the worker has stopped: every task left its mark once, and none came back to the queue."""
        tally = self.marks.tally(count)
        if not tally.is_exact:
            raise SampleFailed(str(tally))
        left = self.broker.depth(self.job.queue)
        if left:
            raise SampleFailed(f"{left} messages came back to the queue: not all were acknowledged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Theatre:
    """What all samples of a run share."""

    python: str
    broker: Broker
    redis_url: str
    folder: Path
    #: Factor on the number of tasks of every measure.
    scale: float = 1.0

    def scaled(self, count: int, *, least: int = 1) -> int:
        return max(least, round(count * self.scale))

    @contextlib.contextmanager
    def stage(
        self, subject: Subject, *, queue_type: QueueType = "classic", processes: int = 2, in_flight: int = 200
    ) -> Iterator[Stage]:
        queue = f"bench.{subject.name}.{uuid.uuid4().hex[:8]}"
        folder = self.folder / queue
        folder.mkdir()
        job = Job(
            subject=subject.name,
            url=self.broker.url,
            redis_url=self.redis_url,
            queue=queue,
            queue_type=queue_type,
            processes=processes,
            in_flight=in_flight,
            marks=str(folder / "marks"),
        )
        stage = Stage(subject=subject, job=job, python=self.python, broker=self.broker, folder=folder)
        try:
            yield stage
        finally:
            stage.close()
            queues, exchanges = subject.leftovers(job, self.python)
            self.broker.delete(queues, exchanges)


def wait_until(instant: float) -> None:
    """Seconds since the epoch."""
    time.sleep(max(0.0, instant - time.time()))
