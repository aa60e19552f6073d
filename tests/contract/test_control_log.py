"""The control log on a real broker: as a stream, as a quorum queue and as a classic one, it keeps what holds."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from amqtask.clock import SystemClock
from amqtask.control.log import INTERNAL_ERROR, Change, ControlLog
from amqtask.control.shelves import CLASSIC, QUORUM, STREAM
from amqtask.core.address import parse_url
from amqtask.core.declare import DeclareQueue
from amqtask.core.standing import Order
from amqtask.drivers import load_driver
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import ConnectionLost
from amqtask.testing.rabbitmq import find_server
from tests.support.broker import Broker
from tests.support.eventually import eventually
from tests.support.rabbitmq import RabbitNode

pytestmark = pytest.mark.timeout(300)

KINDS = ("stream", "classic", "quorum")
SMALL = 20_000
"""Bytes after which these logs are compacted."""


class OldNode(RabbitNode):
    """A RabbitMQ that has neither streams nor quorum queues: their feature flags are not enabled."""

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "RABBITMQ_FEATURE_FLAGS": "implicit_default_bindings"}


@pytest.fixture(scope="module")
def old() -> Iterator[OldNode]:
    if find_server() is None:
        pytest.skip("a broker without streams needs an installed rabbitmq-server for a private node")
    with OldNode() as node:
        flags = dict(line.split("\t") for line in node.ctl("list_feature_flags", "-q").splitlines() if "\t" in line)
        if flags.get("stream_queue") != "disabled":
            pytest.skip("this RabbitMQ always has streams")
        yield node


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, broker: Broker) -> str:
    if kind == "stream":
        return broker.vhost()
    node: OldNode = request.getfixturevalue("old")
    if kind == "quorum":
        node.ctl("enable_feature_flag", "quorum_queue")
    return node.fresh_vhost()


class Member:
    """A node's log on a connection of its own."""

    def __init__(self, url: str, name: str, *, secret: str | None = None) -> None:
        self.told: list[dict[str, Order | None]] = []
        self._clock = SystemClock()
        self.log = ControlLog(
            node=name,
            exchange="c",
            secret=secret,
            clock=self._clock,
            restored=self._restored,
            compact_after=SMALL,
        )
        self.connection = self._connect(url)

    def _connect(self, url: str) -> Connection:
        for _ in range(3):
            connection = load_driver("pika").connect(parse_url(url), 10.0)
            try:
                self.log.opened(connection)
            except ConnectionLost as error:
                # So a RabbitMQ answers whose feature flag for a type of queue is disabled.
                assert error.code == INTERNAL_ERROR  # noqa: PT017 - it is what is tried next that is tested
                connection.close()
            else:
                return connection
        raise AssertionError("there are three kinds only")

    def _restored(self, changes: Sequence[Change]) -> None:
        self.told.append(dict(changes))

    def run(self, done: Callable[[], object], deadline: float = 60.0) -> None:
        until = time.monotonic() + deadline
        while not done():
            assert time.monotonic() < until, "in time"
            self.connection.poll(0.05)
            self.log.turn(self._clock.monotonic())

    def start(self) -> dict[str, Order | None]:
        """Read to the end; what holds."""
        self.run(lambda: self.told)
        return self.told[-1]

    def set(self, *keys: str, on: bool = True, only_here: bool = False) -> None:
        self.log.write([(key, _order(key) if on else None) for key in keys], only_here=only_here)
        self.log.flush()
        self.connection.poll(0.0)

    def close(self) -> None:
        self.connection.close()


def _order(key: str) -> Order:
    return Order("revoke" if key.startswith("revoke") else "pause", {"of": key}, float(int(time.time())))


def entries(url: str) -> int:
    """How many entries and marks stand in the log, if it is a queue."""
    connection = load_driver("pika").connect(parse_url(url), 10.0)
    try:
        channel = connection.channel(QuietSink(), confirms=False)
        info = channel.declare(DeclareQueue(name="c.log.queue", passive=True))
        assert info is not None
        return info.messages
    finally:
        connection.close()


def held_by_a_new_node(url: str, name: str = "new") -> set[str]:
    member = Member(url, name)
    try:
        return {key for key, order in member.start().items() if order is not None}
    finally:
        member.close()


def test_a_node_that_starts_later_reads_what_was_set_and_not_what_was_taken_away(url: str) -> None:
    one = Member(url, "one")
    assert one.start() == {}
    one.set("pause:a", "pause:b", "pause:c")
    one.set("pause:b", on=False)
    one.set("pause:only", only_here=True)
    two = Member(url, "two")
    assert {key for key, order in two.start().items() if order is not None} == {"pause:a", "pause:c"}
    two.set("pause:a", on=False)
    one.close()
    two.close()
    assert held_by_a_new_node(url, "one") == {"pause:c", "pause:only"}
    for _ in range(25):  # more often than a queue of RabbitMQ 4 lets a message be given back
        assert held_by_a_new_node(url) == {"pause:c"}


def test_nodes_that_start_at_once_read_one_after_the_other(url: str) -> None:
    one = Member(url, "one")
    one.start()
    one.set("pause:a")
    others = [Member(url, f"n{number}") for number in range(3)]
    for other in others:
        assert "pause:a" in other.start()
        other.set(f"pause:{other.log._node}")
    for member in (one, *others):
        member.close()
    assert held_by_a_new_node(url) == {"pause:a", "pause:n0", "pause:n1", "pause:n2"}


def test_the_log_does_not_grow_for_ever(url: str, kind: str) -> None:
    one = Member(url, "one")
    one.start()
    one.set("pause:first")
    for number in range(5):
        one.set(*(f"rate_limit:{n}" for n in range(50)))
        one.set(*(f"rate_limit:{n}" for n in range(50)), on=number == 4)
    one.set(*(f"rate_limit:{n}" for n in range(2, 50)), on=False)
    wanted = {"pause:first", "rate_limit:0", "rate_limit:1"}
    compacted: Callable[[], object] = lambda: one.log._written < SMALL and one.log._ledger is None  # noqa: E731
    one.run(compacted)
    assert len(one.told) == 1, "only who connects is told"
    if kind != "stream":
        one.run(lambda: 0 < entries(url) <= len(wanted))
    assert held_by_a_new_node(url) == wanted
    one.set("pause:later")
    one.close()
    # It is written without waiting for a confirm: a quorum queue may have it a moment after the connection is closed.
    eventually(lambda: held_by_a_new_node(url) == wanted | {"pause:later"})


def test_unsigned_entries_are_left_out_and_left_in_place(url: str) -> None:
    unsigned = Member(url, "one")
    unsigned.start()
    unsigned.set("pause:a")
    unsigned.close()
    signed = Member(url, "two", secret="opensesame")
    assert signed.start() == {}
    signed.set("pause:b")
    signed.close()
    assert held_by_a_new_node(url) == {"pause:a", "pause:b"}


def test_the_kind_is_the_best_that_the_broker_has(url: str, kind: str) -> None:
    member = Member(url, "one")
    member.start()
    arguments = {"stream": STREAM, "quorum": QUORUM, "classic": CLASSIC}[kind]
    channel = member.connection.channel(QuietSink(), confirms=False)
    # The broker refuses this where it stands with other arguments.
    channel.declare(DeclareQueue(name="c.log" if kind == "stream" else "c.log.queue", arguments=arguments))
    member.close()
