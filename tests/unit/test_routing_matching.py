"""Which queues a message reaches over exchanges of each type."""

import pytest

from amqtask.core.keys import ANY, literal
from amqtask.core.matching import headers_match, may_reach, reached
from amqtask.core.message import HeaderValue
from amqtask.core.topology import Binding, Exchange, Queue, Topology


def topology(*exchanges: Exchange, queues: str, bindings: list[Binding]) -> Topology:
    return Topology(
        exchanges={exchange.name: exchange for exchange in exchanges},
        queues={name: Queue(name=name) for name in queues.split()},
        bindings=tuple(bindings),
    )


def test_the_default_exchange_reaches_the_queue_of_that_name() -> None:
    shape = topology(queues="a b", bindings=[])

    assert reached(shape, "", "b") == ("b",)
    assert reached(shape, "", "c") == ()


def test_a_direct_exchange_takes_the_key_literally() -> None:
    shape = topology(
        Exchange(name="x", type="direct"),
        queues="a b",
        bindings=[Binding(source="x", target="a", key="k.*"), Binding(source="x", target="b", key="k.1")],
    )

    assert reached(shape, "x", "k.1") == ("b",)
    assert reached(shape, "x", "k.*") == ("a",)


def test_a_fanout_exchange_reaches_all_of_its_queues() -> None:
    shape = topology(
        Exchange(name="x", type="fanout"),
        queues="a b c",
        bindings=[Binding(source="x", target="a", key="k"), Binding(source="x", target="b")],
    )

    assert reached(shape, "x", "anything") == ("a", "b")


def test_a_queue_that_is_bound_twice_is_reached_once() -> None:
    shape = topology(
        Exchange(name="x"),
        queues="a",
        bindings=[Binding(source="x", target="a", key="#"), Binding(source="x", target="a", key="k.*")],
    )

    assert reached(shape, "x", "k.1") == ("a",)


def test_bindings_between_exchanges_are_followed_and_circles_end() -> None:
    shape = topology(
        Exchange(name="x"),
        Exchange(name="y", type="fanout"),
        queues="a b",
        bindings=[
            Binding(source="x", target="y", key="to.y", to_exchange=True),
            Binding(source="y", target="x", to_exchange=True),
            Binding(source="y", target="a"),
            Binding(source="x", target="b", key="only.b"),
        ],
    )

    assert reached(shape, "x", "to.y") == ("a",)
    assert reached(shape, "x", "only.b") == ("b",)


def test_the_alternate_exchange_gets_what_no_binding_takes() -> None:
    shape = topology(
        Exchange(name="x", alternate="rest"),
        Exchange(name="rest", type="fanout"),
        queues="a catchall",
        bindings=[Binding(source="x", target="a", key="a.#"), Binding(source="rest", target="catchall")],
    )

    assert reached(shape, "x", "a.1") == ("a",)
    assert reached(shape, "x", "b.1") == ("catchall",)
    assert may_reach(shape, "x", literal("b.1")) == ("catchall",)
    assert may_reach(shape, "x", ANY) == ("a", "catchall")


def test_an_exchange_that_a_binding_leads_to_needs_no_alternate_though_it_keeps_nothing() -> None:
    shape = topology(
        Exchange(name="x", alternate="rest"),
        Exchange(name="empty", type="fanout"),
        Exchange(name="rest", type="fanout"),
        queues="catchall",
        bindings=[
            Binding(source="x", target="empty", key="#", to_exchange=True),
            Binding(source="rest", target="catchall"),
        ],
    )

    assert reached(shape, "x", "k") == ()


def test_the_servers_own_exchanges_work_without_being_declared() -> None:
    shape = topology(queues="a", bindings=[Binding(source="amq.topic", target="a", key="k.#")])

    assert reached(shape, "amq.topic", "k.1") == ("a",)
    assert reached(shape, "amq.topic", "l.1") == ()


def test_a_delayed_message_exchange_matches_as_the_type_in_its_argument() -> None:
    shape = topology(
        Exchange(name="x", type="x-delayed-message", arguments={"x-delayed-type": "direct"}),
        queues="a b",
        bindings=[Binding(source="x", target="a", key="1"), Binding(source="x", target="b", key="2")],
    )

    assert reached(shape, "x", "2") == ("b",)


def test_an_exchange_of_an_unknown_type_may_use_all_of_its_bindings() -> None:
    shape = topology(
        Exchange(name="x", type="x-consistent-hash"),
        queues="a b",
        bindings=[Binding(source="x", target="a", key="1"), Binding(source="x", target="b", key="2")],
    )

    assert reached(shape, "x", "whatever") == ("a", "b")


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        ({}, {"a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 3}, False),
        ({"a": None}, {"a": "anything"}, True),
        ({"a": None}, {}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"x-kind": "pdf"}, {}, True),
        ({"x-match": "all-with-x", "x-kind": "pdf"}, {}, False),
        ({"x-match": "all-with-x", "x-kind": "pdf"}, {"x-kind": "pdf"}, True),
        ({"x-match": "any-with-x", "x-kind": "pdf", "a": 1}, {"x-kind": "pdf"}, True),
        ({"x-match": "any", "x-kind": "pdf", "a": 1}, {"x-kind": "pdf"}, False),
    ],
)
def test_headers_match_as_rabbitmq_has_it(
    wanted: dict[str, HeaderValue], given: dict[str, HeaderValue], expected: bool
) -> None:
    assert headers_match(wanted, given) is expected
