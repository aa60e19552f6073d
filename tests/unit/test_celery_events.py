"""Every event of Celery that tells of tasks and workers has Celery's fields, and may have more.

Celery's `task-cancelled` and `worker-elect` have no counterpart: nothing here is cancelled without being revoked, and
nodes elect nobody.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from amqtask.core.message import Delivery, Envelope, TaskMessage
from amqtask.core.outcome import Failure, Outcome, Rejected, RetryWanted, Revoked, Success
from amqtask.core.protocol import read_request
from amqtask.core.routing import Routing
from amqtask.drivers.base import Connection
from amqtask.events.emitter import Emitter
from amqtask.events.model import TASK_TYPES, WORKER_TYPES, read
from amqtask.events.pulse import Pulse
from amqtask.events.sent import SentEvents
from amqtask.publisher import Publisher
from amqtask.ticket import Ticket
from amqtask.worker.telling import arrival, ending

COMMON = "type hostname utcoffset pid clock timestamp"
SIGN = "freq active processed loadavg sw_ident sw_ver sw_sys"
CALL = "uuid name args kwargs retries eta expires root_id parent_id"
CELERYS = {
    "task-sent": f"{CALL} queue exchange routing_key",
    "task-received": CALL,
    "task-started": "uuid",
    "task-succeeded": "uuid result runtime",
    "task-failed": "uuid exception traceback",
    "task-retried": "uuid exception traceback",
    "task-rejected": "uuid requeue",
    "task-revoked": "uuid terminated signum expired",
    "worker-online": SIGN,
    "worker-heartbeat": SIGN,
    "worker-offline": SIGN,
}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
MESSAGE = TaskMessage(
    id="1", task="t", args=(1,), kwargs={"a": 2}, root_id="0", parent_id="0", eta=NOON, expires=NOON, retries=1
)
ENDINGS: dict[str, Outcome] = {
    "task-succeeded": Success(3, 0.5),
    "task-failed": Failure(ValueError("no"), "Traceback"),
    "task-retried": RetryWanted(error=ValueError("no"), countdown=1.0, retries=1, traceback="Traceback"),
    "task-rejected": Rejected("no", requeue=False),
    "task-revoked": Revoked(expired=False, terminated=True, signal="SIGTERM"),
}


class Still:
    """A clock that stands."""

    def time(self) -> float:
        return 1000.5

    def monotonic(self) -> float:
        return 5.0


class Wire:
    """Publisher, connection and channel in one: keeps the events that are published."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def send(self, ticket: Ticket) -> None:
        self.seen.extend(read(ticket.envelope))

    def channel(self, sink: object, *, confirms: bool) -> "Wire":
        return self

    def declare(self, op: object) -> None: ...

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> None:
        self.seen.extend(read(envelope))


def emitter_to(wire: Wire) -> Emitter:
    return Emitter(
        node="a@h",
        exchange="aqt.events",
        clock=Still(),
        publisher=lambda: cast(Publisher, wire),
        later=lambda seconds, call: None,
    )


def sent(wire: Wire) -> None:
    events = SentEvents(emitter_to(wire))
    events.sent(MESSAGE, Routing(exchange="tasks", routing_key="hi.t", why="", queues=("hi",)))
    events.flush()


def told(kind: str, fields: Mapping[str, str | float | bool | None]) -> Callable[[Wire], None]:
    def tell(wire: Wire) -> None:
        emitter = emitter_to(wire)
        emitter.emit(kind, {"uuid": "1", **fields})
        emitter.flush()

    return tell


def came() -> Mapping[str, str | float | bool | None]:
    headers = {
        "task": "t",
        "id": "1",
        "root_id": "0",
        "parent_id": "0",
        "retries": 1,
        "eta": NOON.isoformat(),
        "expires": NOON.isoformat(),
        "argsrepr": "(1,)",
        "kwargsrepr": "{'a': 2}",
    }
    envelope = Envelope(body=b"", headers=headers)  # type: ignore[arg-type] # dict is invariant in its values
    delivery = Delivery(envelope, 1, 1, "c", "tasks", "hi.t", redelivered=False)
    return arrival(read_request(delivery), "hi")


def lives(wire: Wire) -> None:
    pulse = Pulse(
        node="a@h", exchange="aqt.events", every=2.0, clock=Still(), version="1", load=lambda: (1, 2), on=True
    )
    pulse.opened(cast(Connection, wire))
    pulse.turn(0.0)
    pulse.beat()
    pulse.farewell()


def scenes() -> Iterator[tuple[str, Callable[[Wire], None]]]:
    yield "task-sent", sent
    yield "task-received", told("task-received", came())
    yield "task-started", told("task-started", {"name": "t"})
    for kind, outcome in ENDINGS.items():
        yield kind, told(kind, ending(outcome))
    for kind in WORKER_TYPES:
        yield kind, lives


@pytest.mark.parametrize(("kind", "play"), list(scenes()))
def test_an_event_has_celerys_fields(kind: str, play: Callable[[Wire], None]) -> None:
    wire = Wire()

    play(wire)

    (event,) = [one for one in wire.seen if one["type"] == kind]
    assert [name for name in f"{COMMON} {CELERYS[kind]}".split() if event.get(name) is None] == []
    assert json.loads(json.dumps(event)) == event


def test_no_type_is_left_out() -> None:
    assert {*TASK_TYPES, *WORKER_TYPES} == CELERYS.keys() == {kind for kind, _ in scenes()}


def test_a_task_that_goes_to_several_queues_is_told_of_without_one() -> None:
    wire = Wire()
    events = SentEvents(emitter_to(wire))

    events.sent(MESSAGE, Routing(exchange="tasks", routing_key="hi.t", why="", queues=("hi", "lo")))
    events.flush()

    assert "queue" not in wire.seen[0]
    assert (wire.seen[0]["exchange"], wire.seen[0]["routing_key"]) == ("tasks", "hi.t")
