"""The laws of `amqtask.beat.store`, over every kind of store."""

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from amqtask.beat.book import Book, Kept
from amqtask.beat.store import Store, StoreSetup, open_store
from amqtask.core.address import parse_url
from amqtask.core.declare import DeleteQueue
from amqtask.core.entry import EntryState
from amqtask.core.message import Envelope
from amqtask.drivers.base import QuietSink
from amqtask.drivers.pika import PikaDriver
from amqtask.errors import BeatStoreFailed, Fenced
from amqtask.session import SessionOptions
from tests.support.eventually import eventually
from tests.support.names import unique
from tests.support.stores import mariadb_url, postgresql_url, redis_server

KINDS = ["rabbitmq", "file", "redis", "sqlite", "postgresql", "mariadb"]
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

Open = Callable[[], Store]


def kept(count: int, plan: str = "plan") -> Kept:
    due = NOON + timedelta(seconds=count)
    return Kept(state=EntryState(since=NOON, last_run=due, next_run=due + timedelta(seconds=1), count=count), plan=plan)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, StoreSetup]:
    """The kind of a store and its settings, for an app of its own."""
    kind, name = request.param, unique("beat")
    if kind == "rabbitmq":
        address = parse_url(request.getfixturevalue("module_vhost"))
        session = SessionOptions(driver=PikaDriver(), addresses=[address], connect_timeout=30)
        return kind, StoreSetup(name=name, session=session)
    if kind == "file":
        return kind, StoreSetup(name=name, url=str(tmp_path / "beat.json"))
    if kind == "redis":
        return kind, StoreSetup(name=name, url=request.getfixturevalue("redis_url"))
    urls = {
        "sqlite": lambda: f"sqlite:///{tmp_path / 'beat.db'}",
        "postgresql": postgresql_url,
        "mariadb": mariadb_url,
    }
    return "sql", StoreSetup(name=name, url=urls[kind]())


@pytest.fixture
def store(setup: tuple[str, StoreSetup]) -> Iterator[Open]:
    """Opens the store once more, as another process would."""
    opened: list[Store] = []

    def another() -> Store:
        opened.append(open_store(*setup))
        return opened[-1]

    yield another
    for one in opened:
        one.close()


def test_a_new_store_is_empty(store: Open):
    assert store().load() == Book()


def test_what_was_saved_is_there_for_others(store: Open):
    leader = store()
    epoch, _ = leader.take_over()

    leader.save(epoch, {"one": kept(1), "two": kept(2)})
    leader.save(epoch, {"one": kept(3)})

    assert store().load().states == {"one": kept(3), "two": kept(2)}


def test_a_state_can_be_forgotten(store: Open):
    leader = store()
    epoch, _ = leader.take_over()
    leader.save(epoch, {"one": kept(1), "two": kept(2)})

    leader.save(epoch, {"one": None, "never seen": None})

    assert store().load().states == {"two": kept(2)}


def test_the_next_leader_begins_with_what_the_last_one_saved(store: Open):
    first = store()
    epoch, _ = first.take_over()
    first.save(epoch, {"one": kept(7)})

    later, book = store().take_over()

    assert later > epoch
    assert book.states == {"one": kept(7)}


def test_a_leader_that_another_has_followed_changes_nothing(store: Open):
    frozen, leader = store(), store()
    old, _ = frozen.take_over()
    new, _ = leader.take_over()
    leader.save(new, {"one": kept(5)})

    with pytest.raises(Fenced):
        frozen.save(old, {"one": kept(4)})

    assert store().load().states == {"one": kept(5)}


def test_nobody_saves_under_an_epoch_that_he_did_not_take(store: Open):
    leader, stranger = store(), store()
    epoch, _ = leader.take_over()

    with pytest.raises(Fenced):
        stranger.save(epoch, {"one": kept(1)})


def test_of_many_that_take_over_at_once_one_leads(store: Open):
    stores = [store() for _ in range(4)]
    stores[0].load()
    taken: dict[int, Store] = {}

    def take(one: Store) -> None:
        with contextlib.suppress(Fenced):
            epoch, _ = one.take_over()
            assert epoch not in taken, "two took the same epoch"
            taken[epoch] = one

    threads = [threading.Thread(target=take, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    last = max(taken)
    for epoch, one in taken.items():
        if epoch == last:
            one.save(epoch, {"one": kept(epoch)})
        else:
            with pytest.raises(Fenced):
                one.save(epoch, {"one": kept(epoch)})
    assert store().load().states == {"one": kept(last)}


def test_edits_of_several_writers_add_up(store: Open):
    one, other = store(), store()

    one.edit("report", {"enabled": False})
    other.edit("report", {"jitter": 5})
    one.edit("mail", {"task": "mail", "schedule": {"every": 5}})
    other.edit("report", {"enabled": True})

    assert store().load().edits == {
        "report": {"enabled": True, "jitter": 5},
        "mail": {"task": "mail", "schedule": {"every": 5}},
    }


def test_edits_can_be_taken_back(store: Open):
    one = store()
    one.edit("report", {"enabled": False})
    one.edit("report", None)
    one.edit("report", {"jitter": 1})

    assert store().load().edits == {"report": {"jitter": 1}}


def test_edits_outlive_leaders(store: Open):
    store().edit("report", {"enabled": False})
    leader = store()
    epoch, book = leader.take_over()
    leader.save(epoch, {"report": kept(1)})

    assert book.edits == {"report": {"enabled": False}}
    assert store().load() == Book(states={"report": kept(1)}, edits=book.edits)


def test_names_of_any_letters_are_kept_apart(store: Open):
    leader = store()
    epoch, _ = leader.take_over()
    names = ["überfällig", "a b", "a.b", "{a}", "a:b", "名"]

    leader.save(epoch, {name: kept(number) for number, name in enumerate(names)})

    assert store().load().states == {name: kept(number) for number, name in enumerate(names)}


def test_ten_thousand_entries_are_kept(store: Open):
    leader = store()
    epoch, _ = leader.take_over()
    states = {f"entry-{number:05}": kept(number) for number in range(10_000)}
    names = list(states)

    for start in range(0, len(names), 1000):
        leader.save(epoch, {name: states[name] for name in names[start : start + 1000]})

    assert store().load().states == states


def test_a_writer_that_is_killed_leaves_what_was_before_or_after(store: Open, setup: tuple[str, StoreSetup]):
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        writer = context.Process(target=_write_until_killed, args=setup)
        before = store().load().states.get("left")
        writer.start()
        eventually(lambda before=before: store().load().states.get("left") != before, deadline=60)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()

        states = store().load().states

        assert states["left"] == states["right"]


def _write_until_killed(kind: str, setup: StoreSetup) -> None:
    store = open_store(kind, setup)
    epoch, book = store.take_over()
    count = book.states["left"].state.count if book.states else 0
    while True:
        count += 1
        store.save(epoch, {"left": kept(count), "right": kept(count)})


def test_a_later_version_is_neither_read_nor_written(store: Open, setup: tuple[str, StoreSetup]):
    leader = store()
    leader.take_over()
    _make_later_version(*setup)

    with pytest.raises(BeatStoreFailed, match="version 99"):
        store().load()
    with pytest.raises(BeatStoreFailed, match="version 99"):
        store().edit("one", {"enabled": False})


def _make_later_version(kind: str, setup: StoreSetup) -> None:
    if kind == "file":
        path = Path(str(setup.url))
        path.write_text(json.dumps({**json.loads(path.read_text()), "v": 99}))
    elif kind == "redis":
        import redis

        with redis.Redis.from_url(str(setup.url)) as client:
            client.hset(f"aqt:beat:{{{setup.name}}}:leader", "v", "99")
    elif kind == "sql":
        import sqlalchemy

        engine = sqlalchemy.create_engine(str(setup.url))
        with engine.begin() as connection:
            query = sqlalchemy.text("UPDATE amqtask_beat SET version = 99 WHERE app = :app")
            connection.execute(query, {"app": setup.name})
        engine.dispose()
    else:
        _on_stream(setup, lambda channel, stream: channel.publish(_later(), "", stream, mandatory=False))


def _later() -> Envelope:
    return Envelope(body=b'{"v": 99, "id": "later", "something": "new"}')


def _on_stream(setup: StoreSetup, do: Callable[[Any, str], object]) -> None:
    assert setup.session is not None
    connection = setup.session.driver.connect(setup.session.addresses[0], 30)
    do(connection.channel(QuietSink(), confirms=False), f"aqt.beat.{setup.name}.log")
    connection.close()


# RabbitMQ's log only


@pytest.fixture
def log(module_vhost: str) -> Iterator[StoreSetup]:
    """A store of RabbitMQ whose log is cut off soon."""
    session = SessionOptions(driver=PikaDriver(), addresses=[parse_url(module_vhost)], connect_timeout=30)
    made = StoreSetup(name=unique("beat"), session=session, size=80_000)
    yield made
    _on_stream(made, lambda channel, stream: channel.declare(DeleteQueue(name=stream)))


def test_what_the_broker_cuts_off_its_log_was_written_again_before(log: StoreSetup):
    store = open_store("rabbitmq", log)
    store.edit("once", {"task": "once", "schedule": {"every": 5}})
    store.edit("gone", {"enabled": False})
    store.edit("gone", None)
    epoch, _ = store.take_over()
    store.save(epoch, {"quiet": kept(1)})

    for number in range(1500):
        store.save(epoch, {"busy": kept(number), "padding": kept(0, plan="p" * 200)})
    store.close()
    reader = open_store("rabbitmq", log)
    book = reader.load()
    reader.close()

    assert _first_offset(log) > 100, "nothing was cut off: the test shows nothing"
    assert book.edits == {"once": {"task": "once", "schedule": {"every": 5}}}
    assert (book.states["quiet"], book.states["busy"]) == (kept(1), kept(1499))


def _first_offset(log: StoreSetup) -> int:
    offsets: list[int] = []

    class Sink(QuietSink):
        def delivered(self, delivery: Any) -> None:
            offsets.append(delivery.envelope.headers["x-stream-offset"])

    assert log.session is not None
    connection = log.session.driver.connect(log.session.addresses[0], 30)
    channel = connection.channel(Sink(), confirms=False)
    channel.qos(1)
    arguments = {"x-stream-offset": "first"}
    channel.consume(f"aqt.beat.{log.name}.log", no_ack=False, exclusive=False, arguments=arguments)
    eventually(lambda: connection.poll(1) or offsets)
    connection.close()
    return offsets[0]


def test_a_strangers_message_in_the_log_is_passed_over(log: StoreSetup):
    store = open_store("rabbitmq", log)
    store.edit("one", {"enabled": False})
    for body in (b"hello", b"[]", b'{"x": 1}', b"\xff\xfe"):
        _on_stream(log, lambda c, stream, body=body: c.publish(Envelope(body=body), "", stream, mandatory=False))

    assert store.load().edits == {"one": {"enabled": False}}
    store.close()


def test_a_connection_that_the_broker_closed_is_opened_again(log: StoreSetup, broker: Any):
    if broker.node is None:
        pytest.skip("closing connections needs a private node")
    store = open_store("rabbitmq", log)
    epoch, _ = store.take_over()
    store.save(epoch, {"one": kept(1)})

    broker.node.close_connections()
    store.idle()
    store.save(epoch, {"one": kept(2)})

    assert store.load().states == {"one": kept(2)}
    store.close()
