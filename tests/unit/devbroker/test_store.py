import pathlib
import sqlite3

import pytest

from amqtask.devbroker.broker import Broker
from amqtask.devbroker.exchange import Binding, ExchangeSpec
from amqtask.devbroker.store import FILE, Store
from tests.unit.devbroker.rig import START, Client


class Life:
    """A broker on a folder, until it dies without a word."""

    def __init__(self, folder: pathlib.Path, now: float = START) -> None:
        self.store = Store.open(folder)
        self.client = Client(Broker(now=now, journal=self.store))
        self.store.restore(self.client.broker)

    def die(self) -> None:
        """As after kill -9: what was committed is there, and nothing else."""
        self.store.close()


def test_what_is_durable_is_there_in_the_next_life(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    it = first.client
    it.channel.vhost.declare_exchange(
        ExchangeSpec(name="x", kind="topic", durable=True, arguments={"alternate-exchange": "y"})
    )
    it.declare("q", x_max_priority=5)
    it.bind("q", "x", "a.#", {"n": 1})
    it.publish("a.b", "kept", exchange="x", delivery_mode=2, headers={"h": [1, {"t": None}]}, priority=3)
    it.publish("a.b", "transient", exchange="x")
    it.broker.flush()
    first.die()

    second = Life(tmp_path).client
    assert second.drain("q") == ["kept"]
    second.publish("a.c", "routed", exchange="x")
    assert second.drain("q") == ["routed"]


def test_a_message_keeps_everything(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare("q")
    first.client.publish("q", "a", delivery_mode=2, headers={"h": [1, {"t": None}]}, message_id="m", timestamp=5)
    before = first.client.broker.messages("q")[0]
    first.client.broker.flush()
    first.die()

    got = Life(tmp_path).client.channel.get("q")
    assert got is not None
    _, redelivered, message, _ = got
    assert not redelivered
    assert (message.properties, message.body, message.exchange, message.routing_key) == (
        before.properties,
        b"a",
        "",
        "q",
    )


def test_only_what_may_have_been_seen_is_redelivered(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare("q")
    for body in "abc":
        first.client.publish("q", body, delivery_mode=2)
    first.client.consume("q", prefetch=2)
    first.client.broker.flush()
    first.die()
    second = Life(tmp_path)
    second.client.consume("q")
    assert [(message.body, again) for _, _, again, message in second.client.deliveries] == [
        (b"a", True),
        (b"b", True),
        (b"c", False),
    ]
    second.client.channel.ack(3, multiple=True)
    second.client.broker.flush()
    second.die()

    third = Life(tmp_path)
    third.client.publish("q", "d", delivery_mode=2)
    third.client.broker.flush()
    third.die()
    got = Life(tmp_path).client.channel.get("q")
    assert got is not None
    assert not got[1]


def test_nothing_is_kept_before_the_flush(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare("q")
    first.client.broker.flush()
    first.client.publish("q", "lost", delivery_mode=2)
    first.die()

    assert Life(tmp_path).client.drain("q") == []


def test_what_was_settled_purged_or_deleted_does_not_come_back(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    it = first.client
    for name in ("acked", "purged", "deleted", "unbound"):
        it.declare(name)
        it.publish(name, name, delivery_mode=2)
    it.channel.vhost.declare_exchange(ExchangeSpec(name="x", kind="fanout", durable=True))
    it.bind("unbound", "x")
    it.broker.flush()
    it.drain("acked")
    it.channel.vhost.queue("purged").purge()
    it.channel.vhost.delete_queue("deleted")
    it.channel.vhost.unbind(Binding(source="x", destination=("queue", "unbound"), routing_key=""))
    it.broker.flush()
    first.die()

    second = Life(tmp_path).client
    assert second.drain("acked") == second.drain("purged") == []
    assert "deleted" not in second.channel.vhost.queues
    second.publish("", "b", exchange="x")
    assert second.drain("unbound") == ["unbound"]


def test_what_a_client_holds_comes_back_when_the_broker_dies(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare("q")
    for body in "ab":
        first.client.publish("q", body, delivery_mode=2)
    first.client.get("q", no_ack=False)
    first.client.broker.flush()
    first.die()

    assert Life(tmp_path).client.drain("q") == ["a", "b"]


def test_a_message_that_expired_while_the_broker_was_dead_is_dead_lettered_at_once(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    it = first.client
    it.declare("a.dead")
    it.declare("q", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="a.dead")
    it.publish("a.dead", "old", delivery_mode=2)
    it.publish("q", "new", delivery_mode=2)
    it.broker.flush()
    first.die()

    second = Life(tmp_path, now=START + 60).client
    assert second.drain("q") == []
    assert second.drain("a.dead") == ["old", "new"]


def test_a_quorum_queue_keeps_every_message_and_its_count(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    it = first.client
    it.declare("q", x_queue_type="quorum")
    it.publish("q", "a", delivery_mode=1)
    it.get("q", no_ack=False)
    it.channel.reject(1, requeue=True)
    it.broker.flush()
    first.die()

    message = Life(tmp_path).client.get("q")
    assert message is not None
    assert message.headers == {"x-acquired-count": 1, "x-delivery-count": 1}


def test_a_stream_goes_on_at_its_offset(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare("s", x_queue_type="stream")
    for body in "ab":
        first.client.publish("s", body)
    first.client.broker.flush()
    first.die()

    second = Life(tmp_path).client
    second.publish("s", "c")
    assert [message.headers["x-stream-offset"] for message in second.broker.messages("s")] == [0, 1, 2]


def test_names_and_keys_need_not_be_text(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    first.client.declare(name)
    first.client.publish(name, "a", delivery_mode=2)
    first.client.broker.flush()
    first.die()

    assert Life(tmp_path).client.drain(name) == ["a"]


def test_a_dead_letter_that_nobody_takes_survives(tmp_path: pathlib.Path) -> None:
    first = Life(tmp_path)
    first.client.declare(
        "q",
        x_queue_type="quorum",
        x_overflow="reject-publish",
        x_dead_letter_strategy="at-least-once",
        x_dead_letter_exchange="nowhere",
    )
    first.client.publish("q", "a")
    first.client.get("q", no_ack=False)
    first.client.channel.reject(1, requeue=False)
    first.client.broker.flush()
    first.die()

    assert Life(tmp_path).client.drain("q") == ["a"]


def test_a_store_of_another_version_is_refused(tmp_path: pathlib.Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(ValueError, match="version 99"):
        Store.open(tmp_path)


def test_two_brokers_cannot_use_one_folder(tmp_path: pathlib.Path) -> None:
    life = Life(tmp_path)
    with pytest.raises(OSError, match="cannot use"):
        Store.open(tmp_path)
    life.die()


def test_when_the_disk_refuses_nothing_is_confirmed_and_nothing_forgotten(tmp_path: pathlib.Path) -> None:
    life = Life(tmp_path)
    it = life.client
    it.declare("q")
    it.broker.flush()
    it.channel.select_confirms()
    limit = life.store._connection.execute("PRAGMA page_count").fetchone()[0]
    life.store._connection.execute(f"PRAGMA max_page_count = {limit}")
    it.publish("q", "x" * 100_000, delivery_mode=2)
    with pytest.raises(sqlite3.Error):
        it.broker.flush()
    assert it.confirms == []

    life.store._connection.execute("PRAGMA max_page_count = 100000")
    it.broker.flush()
    assert it.confirms == [(1, False, True)]
    life.die()
    assert len(Life(tmp_path).client.drain("q")) == 1
