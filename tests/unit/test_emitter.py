"""The emitter: what it writes, in batches, and what it drops."""

import json
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from amqtask.events import emitter as module
from amqtask.events.emitter import Emitter
from amqtask.publisher import Publisher
from amqtask.ticket import Ticket


class Still:
    """A clock that stands."""

    def time(self) -> float:
        return 1000.5

    def monotonic(self) -> float:
        return 5.0


class Sink:
    """A publisher that keeps what it is given; `finish` says what became of it."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def send(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)

    def events(self) -> list[dict[str, Any]]:
        return [event for ticket in self.tickets for event in json.loads(ticket.envelope.body)]


def make(later: Callable[[float, Callable[[], None]], None] = lambda seconds, call: None) -> tuple[Emitter, Sink]:
    sink = Sink()
    emitter = Emitter(
        node='web "1"', exchange="aqt.events", clock=Still(), publisher=lambda: cast(Publisher, sink), later=later
    )
    return emitter, sink


@given(
    st.dictionaries(
        st.sampled_from(["uuid", "name", "args", "runtime", "requeue", "eta"]),
        st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    )
)
def test_what_is_written_is_json_that_says_the_same(fields: dict[str, Any]) -> None:
    emitter, sink = make()

    emitter.emit("task-started", fields)
    emitter.flush()

    (event,) = sink.events()
    assert {name: event.get(name) for name in fields} == fields
    assert (event["type"], event["hostname"], event["timestamp"]) == ("task-started", 'web "1"', 1000.5)


def test_a_full_batch_goes_at_once_and_a_part_of_one_later() -> None:
    due: list[Callable[[], None]] = []
    emitter, sink = make(lambda seconds, call: due.append(call))
    for _ in range(module.BATCH + 3):
        emitter.emit("task-started", {})
    assert len(sink.tickets) == 1

    for call in due:
        call()

    assert len(sink.events()) == module.BATCH + 3
    assert [event["clock"] for event in sink.events()] == list(range(1, module.BATCH + 4))


def test_while_the_broker_takes_none_events_are_dropped() -> None:
    emitter, sink = make()
    for _ in range((module.MOST_UNDER_WAY + 2) * module.BATCH):
        emitter.emit("task-started", {})
    assert len(sink.tickets) == module.MOST_UNDER_WAY
    assert emitter.dropped == 2 * module.BATCH

    for ticket in sink.tickets:
        ticket.finish(None)
    emitter.emit("task-started", {})
    emitter.flush()

    assert len(sink.tickets) == module.MOST_UNDER_WAY + 1
    assert emitter.sent == module.MOST_UNDER_WAY * module.BATCH
