"""The delay tree: a message visits the levels of its delay's bits and nothing else, whatever the delay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.declare import BindExchange, BindQueue, DeclareExchange, DeclareQueue
from amqtask.core.delay import (
    DELIVER,
    LEVELS,
    LONGEST,
    LOST,
    Relay,
    entry,
    latest_due,
    level_name,
    relay_recipe,
    tree,
    verified,
    visited,
)
from amqtask.core.keys import topic_matches

RELAY = Relay("mail", "a.b.c")


def walk(exchange: str, key: str) -> tuple[int, str]:
    """Follow a message through the declared tree as a broker would: the seconds waited, and the queue at its end."""
    ops = (*tree().ops, *relay_recipe(RELAY).ops)
    queues = {op.name: op for op in ops if isinstance(op, DeclareQueue)}
    waited = 0
    for _ in range(3 * LEVELS):
        to_queues = [
            op.queue
            for op in ops
            if isinstance(op, BindQueue) and op.exchange == exchange and topic_matches(op.routing_key, key)
        ]
        to_exchanges = [
            op.destination
            for op in ops
            if isinstance(op, BindExchange) and op.source == exchange and topic_matches(op.routing_key, key)
        ]
        assert len(to_queues) + len(to_exchanges) == 1, "one way on, never two and never none"
        if to_exchanges:
            exchange = to_exchanges[0]
            continue
        queue = queues[to_queues[0]]
        if queue.name == RELAY.queue:
            return waited, queue.name
        ttl = queue.arguments["x-message-ttl"]
        assert isinstance(ttl, int)
        waited += ttl // 1000
        target = queue.arguments["x-dead-letter-exchange"]
        assert isinstance(target, str)
        exchange = target
    raise AssertionError("the message goes in circles")


@given(st.integers(1, LONGEST))
def test_a_message_waits_exactly_its_delay_and_arrives_at_its_relay(seconds: int) -> None:
    assert walk(*entry(seconds, RELAY)) == (seconds, RELAY.queue)


@given(st.integers(1, LONGEST))
def test_a_message_enters_at_the_level_of_its_first_bit(seconds: int) -> None:
    exchange, _ = entry(seconds, RELAY)
    assert exchange == level_name(visited(seconds)[0])
    assert sum(2**level for level in visited(seconds)) == seconds


@pytest.mark.parametrize("seconds", [0, -1, LONGEST + 1])
def test_a_delay_outside_of_the_tree_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="a delay is between"):
        entry(seconds, RELAY)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_two_destinations_have_two_relays(one: str, one_key: str, two: str, two_key: str) -> None:
    same = (one, one_key) == (two, two_key)
    assert (Relay(one, one_key).word == Relay(two, two_key).word) is same


def test_the_longest_routing_key_fits_the_protocols_255_bytes() -> None:
    _, key = entry(LONGEST, Relay("e" * 255, "k" * 255))
    assert len(key) <= 255


def test_a_relay_hands_on_at_once_to_its_exchange_and_key() -> None:
    queue, binding = relay_recipe(RELAY).ops
    assert isinstance(queue, DeclareQueue)
    assert isinstance(binding, BindQueue)
    assert queue.arguments["x-message-ttl"] == 0
    assert queue.arguments["x-dead-letter-exchange"] == "mail"
    assert queue.arguments["x-dead-letter-routing-key"] == "a.b.c"
    assert binding.exchange == DELIVER
    assert "#" not in binding.routing_key


def test_nothing_of_the_tree_is_named_as_the_servers_own() -> None:
    names = [op.name for op in tree().ops if isinstance(op, DeclareExchange | DeclareQueue)]
    assert len(names) == 2 * LEVELS + 3
    assert not [name for name in names if name.startswith("amq")]


@given(st.integers(1, LONGEST))
def test_a_message_is_due_by_the_latest_time_of_the_level_that_it_enters(seconds: int) -> None:
    assert seconds <= latest_due(visited(seconds)[0]) < 2 * seconds


def test_what_waits_for_a_relay_that_is_gone_does_not_stay_in_its_level() -> None:
    ops = tree().ops
    (deliver,) = [op for op in ops if isinstance(op, DeclareExchange) and op.name == DELIVER]
    assert deliver.arguments == {"alternate-exchange": LOST}
    assert [op.queue for op in ops if isinstance(op, BindQueue) and op.exchange == LOST] == [LOST]


def test_looking_whether_the_tree_is_there_declares_nothing() -> None:
    recipe = verified(tree())
    named = {op.name for op in tree().ops if isinstance(op, DeclareExchange | DeclareQueue)}
    assert all(isinstance(op, DeclareExchange | DeclareQueue) and op.passive for op in recipe.ops)
    assert {op.name for op in recipe.ops if isinstance(op, DeclareExchange | DeclareQueue)} == named
    assert recipe.name != tree().name, "having looked is not having declared"
