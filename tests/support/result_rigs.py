"""A result backend as a client and a worker see it, for each kind: what the contract is run over."""

import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from amqtask.core.address import parse_url
from amqtask.core.backoff import Backoff
from amqtask.core.state import TaskResult
from amqtask.drivers.pika import PikaDriver
from amqtask.publisher import Publisher
from amqtask.results import load_backend
from amqtask.results.base import ResultBackend, Update
from amqtask.results.setup import BackendSetup
from amqtask.session import SessionOptions


def report(status: str = "SUCCESS", **fields: object) -> TaskResult:
    """A report of a new task."""
    values: dict[str, object] = {"task_id": str(uuid.uuid4()), "status": status, **fields}
    result = TaskResult(**values)  # type: ignore[arg-type]  # a test gives what it means
    return replace(result, date_done=datetime.now(UTC)) if result.is_final and result.date_done is None else result


@dataclass(slots=True)
class Heard:
    """A watcher's callback that keeps what it hears."""

    updates: "queue.SimpleQueue[Update]" = field(default_factory=queue.SimpleQueue)

    def __call__(self, update: Update) -> None:
        self.updates.put(update)

    def until(self, condition: Callable[[Update], bool], timeout: float = 30.0) -> Update:
        """The first update that fulfils the condition."""
        while True:
            update = self.updates.get(timeout=timeout)
            if condition(update):
                return update


@dataclass(slots=True, kw_only=True)
class Rig:
    """Two backends on one store; the same one where only a process can share it."""

    kind: str
    client: ResultBackend
    worker: ResultBackend
    make: Callable[[BackendSetup], ResultBackend]
    setup: BackendSetup
    cleanup: ExitStack

    def another(self) -> ResultBackend:
        """A backend of a process that neither sent nor ran anything."""
        backend = self.make(self.setup)
        self.cleanup.callback(backend.close)
        return backend

    @property
    def keeps_groups(self) -> bool:
        return self.kind != "rpc"

    @property
    def pushes(self) -> bool:
        """Whether its store tells of news."""
        url = self.setup.url or ""
        return self.kind in ("rpc", "rabbitmq", "memory", "redis") or url.startswith("postgresql")

    @property
    def is_shared(self) -> bool:
        """Whether any process may ask for any id."""
        return self.kind not in ("rpc", "memory")

    def put(self, result: TaskResult, timeout: float = 60.0) -> Exception | None:
        """Store a report as a worker does, and wait until that is done."""
        return self.put_all([result], timeout)[0]

    def put_all(self, results: list[TaskResult], timeout: float = 60.0) -> list[Exception | None]:
        """Store reports at once; what became of each. Fails if one is told twice."""
        came = threading.Semaphore(0)
        outcomes: list[list[Exception | None]] = [[] for _ in results]
        reply_to = self.client.reply_to()
        for result, outcome in zip(results, outcomes, strict=True):
            self.client.expect(result.task_id)

            def done(error: Exception | None, outcome: list[Exception | None] = outcome) -> None:
                outcome.append(error)
                came.release()

            self.worker.store(result, reply_to=reply_to, done=done)
        for _ in results:
            assert came.acquire(timeout=timeout), "a report was neither kept nor given up"
        assert all(len(outcome) == 1 for outcome in outcomes), "a report was settled twice"
        return [outcome[0] for outcome in outcomes]


@contextmanager
def rig(kind: str, url: str, folder: Path, **changes: object) -> Iterator[Rig]:
    """A rig of this kind on the store at `url`."""
    with ExitStack() as cleanup:
        usual = BackendSetup(
            url=url,
            prefix=f"t{uuid.uuid4().hex[:10]}_",
            backoff=Backoff(initial=0.02, maximum=0.2),
            poll_interval=0.1,
        )
        setup = replace(usual, **changes)  # type: ignore[arg-type]  # a test gives what it means
        if kind in ("rpc", "rabbitmq"):
            options = SessionOptions(
                driver=PikaDriver(), addresses=[parse_url(url)], backoff=Backoff(initial=0.05, maximum=0.5)
            )
            publisher = Publisher(options, name="results")
            cleanup.callback(publisher.close, 5.0)
            setup = replace(setup, session=options, publisher=lambda: publisher)
        make = load_backend(kind)
        client = make(setup)
        cleanup.callback(client.close)
        if kind == "memory":
            worker = client
        else:
            worker = make(setup)
            cleanup.callback(worker.close)
        yield Rig(kind=kind, client=client, worker=worker, make=make, setup=setup, cleanup=cleanup)
