import pytest

from amqtask.devbroker.emulate import PROFILES, profile
from amqtask.devbroker.errors import HardError, SoftError
from amqtask.devbroker.exchange import Binding, ExchangeSpec
from tests.unit.devbroker.rig import client


def test_a_second_declaration_must_say_the_same() -> None:
    host = client().channel.vhost
    host.declare_exchange(ExchangeSpec(name="x", kind="topic", durable=True))
    host.declare_exchange(ExchangeSpec(name="x", kind="topic", durable=True))

    for spec in (
        ExchangeSpec(name="x", kind="direct", durable=True),
        ExchangeSpec(name="x", kind="topic"),
        ExchangeSpec(name="x", kind="topic", durable=True, arguments={"alternate-exchange": "y"}),
    ):
        with pytest.raises(SoftError) as refusal:
            host.declare_exchange(spec)
        assert refusal.value.code == 406


def test_an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_along() -> None:
    it = client()
    host = it.channel.vhost
    for name in ("x", "y"):
        host.declare_exchange(ExchangeSpec(name=name, kind="fanout", auto_delete=True))
    host.bind(Binding(source="x", destination=("exchange", "y"), routing_key=""))
    it.declare("q")
    it.bind("q", "y")
    host.delete_queue("q")

    assert "y" not in host.exchanges
    assert "x" not in host.exchanges


def test_an_exchange_in_use_is_not_deleted_if_unused() -> None:
    it = client()
    it.exchange("x")
    it.declare("q")
    it.bind("q", "x", "k")

    with pytest.raises(SoftError, match="in use"):
        it.channel.vhost.delete_exchange("x", if_unused=True)


def test_deleting_or_unbinding_what_is_not_there_is_no_error() -> None:
    host = client().channel.vhost
    host.delete_exchange("no")
    assert host.delete_queue("no") == 0
    host.unbind(Binding(source="no", destination=("queue", "no"), routing_key=""))


def test_a_route_that_was_learned_is_forgotten_when_the_bindings_change() -> None:
    it = client()
    it.exchange("x", "topic")
    it.declare("q")
    it.bind("q", "x", "a.*")
    it.publish("a.b", "1", exchange="x")
    it.channel.vhost.unbind(Binding(source="x", destination=("queue", "q"), routing_key="a.*"))
    it.publish("a.b", "2", exchange="x")
    it.bind("q", "x", "#")
    it.publish("a.b", "3", exchange="x")

    assert it.drain("q") == ["1", "3"]


def test_routes_by_headers_are_not_learned_by_key() -> None:
    it = client()
    it.exchange("top", "topic")
    it.exchange("h", "headers")
    it.channel.vhost.bind(Binding(source="top", destination=("exchange", "h"), routing_key="#"))
    it.declare("q")
    it.bind("q", "h", "", {"want": 1})
    it.publish("k", "yes", exchange="top", headers={"want": 1})
    it.publish("k", "no", exchange="top", headers={"want": 2})

    assert it.drain("q") == ["yes"]


@pytest.mark.parametrize(("emulate", "works"), [("3.13", False), ("4.0", True)])
def test_a_local_random_exchange_gives_each_message_to_one_queue_from_4_0(emulate: str, works: bool) -> None:
    it = client(emulate)
    if not works:
        with pytest.raises(HardError) as refusal:
            it.exchange("x", "x-local-random")
        assert refusal.value.code == 503
        return
    it.exchange("x", "x-local-random")
    for name in ("one", "two"):
        it.declare(name)
        it.bind(name, "x")
    for _ in range(50):
        it.publish("", "a", exchange="x")

    counts = [len(it.drain(name)) for name in ("one", "two")]
    assert sum(counts) == 50
    assert min(counts) > 0


@pytest.mark.parametrize(
    ("emulate", "key", "taken"), [("4.3", "#.a.#", True), ("4.3", "#.a.#.#", False), ("4.0", "#.a.#.#", True)]
)
def test_4_3_takes_two_hashes_in_a_binding(emulate: str, key: str, taken: bool) -> None:
    it = client(emulate)
    it.exchange("x", "topic")
    it.declare("q")
    if taken:
        it.bind("q", "x", key)
        return
    with pytest.raises(SoftError) as refusal:
        it.bind("q", "x", key)
    assert refusal.value.code == 406


def test_an_unknown_x_match_is_refused() -> None:
    it = client()
    it.declare("q")
    with pytest.raises(SoftError, match="x-match"):
        it.bind("q", "amq.headers", "", {"x-match": "some"})


def test_every_profile_is_found_by_its_name_and_no_other() -> None:
    for name in PROFILES:
        assert profile(name).version.startswith(name)
    with pytest.raises(ValueError, match=r"3\.10, 3\.13, 4\.0, 4\.3"):
        profile("5.0")
