"""What the YAML's objects mean: defaults, dead-letter queues, bindings in their forms, arguments."""

import pytest

from amqtask.config.load import load_mapping
from amqtask.config.topology import build_routes, build_topology
from amqtask.core.routing import SendOptions
from amqtask.core.topology import Binding, DeadLetter, Topology


def build(mapping: dict[str, object]) -> Topology:
    return build_topology(load_mapping(mapping).config)


def bindings(topology: Topology) -> list[tuple[str, str, str]]:
    return [(binding.source, binding.key, binding.target) for binding in topology.bindings]


def test_a_durable_queue_is_a_quorum_queue_with_a_dead_letter_queue() -> None:
    topology = build({"queues": {"hi": {}}})

    assert list(topology.queues) == ["hi", "hi.dlq"]
    assert topology.queues["hi"].type == "quorum"
    assert topology.queues["hi"].dead_letter == DeadLetter(exchange="", routing_key="hi.dlq")
    assert topology.queues["hi.dlq"].type == "quorum"
    assert topology.queues["hi.dlq"].arguments == {"x-delivery-limit": -1}, "looking at it throws nothing away"
    assert topology.work_queues() == ("hi",)


@pytest.mark.parametrize(
    "queue",
    [
        {"dead_letter": False},
        {"type": "stream"},
        {"exclusive": True},
        {"auto_delete": True},
        {"declare": "verify"},
        {"declare": "never"},
    ],
)
def test_not_every_queue_gets_a_dead_letter_queue(queue: dict[str, object]) -> None:
    topology = build({"queues": {"q": queue}})

    assert list(topology.queues) == ["q"]
    assert topology.queues["q"].dead_letter is None


def test_a_dead_letter_exchange_in_the_arguments_is_left_alone() -> None:
    topology = build({"exchanges": {"x": {}}, "queues": {"q": {"arguments": {"x-dead-letter-exchange": "x"}}}})

    assert list(topology.queues) == ["q"]
    assert topology.queues["q"].dead_letter == DeadLetter(exchange="x")


def test_a_dead_letter_queue_that_is_written_is_taken_as_it_is_and_has_none_of_its_own() -> None:
    topology = build({"queues": {"hi": {}, "hi.dlq": {"max_length": 5}}})

    assert list(topology.queues) == ["hi", "hi.dlq"]
    assert topology.queues["hi.dlq"].arguments == {"x-max-length": 5}


def test_queues_may_share_a_dead_letter_queue() -> None:
    topology = build({"queues": {"hi": {"dead_letter": "dead"}, "lo": {"dead_letter": {"queue": "dead"}}, "dead": {}}})

    assert list(topology.queues) == ["hi", "lo", "dead"]
    assert topology.queues["hi"].dead_letter == topology.queues["lo"].dead_letter
    assert topology.queues["dead"].dead_letter is None
    assert topology.work_queues() == ("hi", "lo")


def test_dead_letters_may_go_to_an_exchange() -> None:
    topology = build(
        {
            "exchanges": {"dlx": {"type": "fanout"}},
            "queues": {"q": {"dead_letter": {"exchange": "dlx", "routing_key": "dead"}}, "all": {"bind": ["dlx"]}},
        }
    )

    assert topology.queues["q"].dead_letter == DeadLetter(exchange="dlx", routing_key="dead")
    assert "q.dlq" not in topology.queues


def test_at_least_once_keeps_the_default_dead_letter_queue() -> None:
    topology = build({"queues": {"q": {"overflow": "reject-publish", "dead_letter": {"strategy": "at-least-once"}}}})

    assert topology.queues["q"].arguments["x-dead-letter-strategy"] == "at-least-once"
    assert topology.queues["q"].dead_letter == DeadLetter(exchange="", routing_key="q.dlq")


@pytest.mark.parametrize("queue", [{"exclusive": True}, {"auto_delete": True}, {"durable": False, "exclusive": True}])
def test_a_passing_queue_is_classic(queue: dict[str, object]) -> None:
    assert build({"queues": {"q": queue}}).queues["q"].type == "classic"


def test_settings_become_arguments_in_the_servers_units() -> None:
    queue = build(
        {
            "queues": {
                "q": {
                    "message_ttl": "1h",
                    "expires": "1d",
                    "max_length": "100k",
                    "max_bytes": "5MiB",
                    "overflow": "reject-publish",
                    "delivery_limit": 5,
                    "single_active_consumer": True,
                    "leader_locator": "balanced",
                    "initial_group_size": 3,
                    "consumer_timeout": "2h",
                    "delayed_retry": {"type": "all", "min": "1s", "max": "1m"},
                    "dead_letter": False,
                    "arguments": {"x-custom": [1, {"a": None}]},
                }
            }
        }
    ).queues["q"]

    assert queue.arguments == {
        "x-message-ttl": 3_600_000,
        "x-expires": 86_400_000,
        "x-max-length": 100_000,
        "x-max-length-bytes": 5 * 1024**2,
        "x-overflow": "reject-publish",
        "x-delivery-limit": 5,
        "x-single-active-consumer": True,
        "x-queue-leader-locator": "balanced",
        "x-quorum-initial-group-size": 3,
        "x-consumer-timeout": 7_200_000,
        "x-delayed-retry-type": "all",
        "x-delayed-retry-min": 1000,
        "x-delayed-retry-max": 60_000,
        "x-custom": [1, {"a": None}],
    }


def test_a_stream_spells_its_settings_its_own_way() -> None:
    queue = build(
        {
            "queues": {
                "s": {
                    "type": "stream",
                    "max_age": "7d",
                    "max_bytes": "1GB",
                    "segment_size": "100MB",
                    "filter_size": 32,
                    "initial_group_size": 3,
                }
            }
        }
    ).queues["s"]

    assert queue.arguments == {
        "x-max-age": "604800s",
        "x-max-length-bytes": 10**9,
        "x-stream-max-segment-size-bytes": 10**8,
        "x-stream-filter-size-bytes": 32,
        "x-initial-cluster-size": 3,
    }


def test_defaults_hold_for_queues_whose_type_knows_them() -> None:
    topology = build(
        {
            "defaults": {"queue": {"delivery_limit": 7, "max_bytes": "1k", "overflow": "reject-publish-dlx"}},
            "queues": {"q": {"delivery_limit": 3}, "c": {"type": "classic"}, "s": {"type": "stream"}},
        }
    )

    assert topology.queues["q"].arguments["x-delivery-limit"] == 3
    assert "x-overflow" not in topology.queues["q"].arguments
    assert "x-delivery-limit" not in topology.queues["c"].arguments
    assert topology.queues["c"].arguments["x-overflow"] == "reject-publish-dlx"
    assert topology.queues["s"].arguments == {"x-max-length-bytes": 1000}


def test_a_default_type_holds_for_queues_and_their_dead_letter_queues() -> None:
    topology = build({"defaults": {"queue": {"type": "classic"}}, "queues": {"q": {}}})

    assert {queue.type for queue in topology.queues.values()} == {"classic"}


def test_dead_letters_can_be_turned_off_for_all() -> None:
    topology = build({"defaults": {"queue": {"dead_letter": False}}, "queues": {"a": {}, "b": {"dead_letter": True}}})

    assert list(topology.queues) == ["a", "b", "b.dlq"]


def test_the_default_of_an_exchange_is_topic() -> None:
    exchanges = {"x": {}, "y": {"type": "direct"}}

    assert build({"exchanges": exchanges}).exchanges["x"].type == "topic"
    changed = build({"exchanges": exchanges, "defaults": {"exchange": {"type": "fanout"}}})
    assert [exchange.type for exchange in changed.exchanges.values()] == ["fanout", "direct"]


def test_all_forms_of_a_binding_mean_the_same() -> None:
    exchanges: dict[str, object] = {"tasks": {}}
    expected = [("tasks", "hi.#", "q"), ("tasks", "urgent.*", "q")]

    for bind in (
        ["tasks[hi.#, urgent.*]"],
        ["tasks[hi.#]", "tasks[urgent.*]"],
        [{"exchange": "tasks", "keys": ["hi.#", "urgent.*"]}],
        [{"exchange": "tasks", "key": "hi.#"}, {"exchange": "tasks", "key": "urgent.*"}],
    ):
        assert bindings(build({"exchanges": exchanges, "queues": {"q": {"bind": bind}}})) == expected
    for listed in (
        ["tasks[hi.#, urgent.*] -> q"],
        ["tasks[hi.#]->q", " tasks [ urgent.* ] ->  q "],
        [{"from": "tasks", "to": "q", "keys": ["hi.#", "urgent.*"]}],
    ):
        assert bindings(build({"exchanges": exchanges, "queues": {"q": {}}, "bindings": listed})) == expected


def test_a_binding_without_a_key_has_the_empty_key() -> None:
    topology = build(
        {
            "exchanges": {"all": {"type": "fanout"}},
            "queues": {"a": {"bind": ["all"]}, "b": {"bind": ["all[]"]}, "c": {"bind": [{"exchange": "all"}]}},
        }
    )

    assert bindings(topology) == [("all", "", "a"), ("all", "", "b"), ("all", "", "c")]


def test_headers_to_match_are_the_bindings_arguments() -> None:
    topology = build(
        {
            "exchanges": {"h": {"type": "headers"}},
            "queues": {"q": {"bind": [{"exchange": "h", "match": {"x-match": "any", "kind": "pdf"}}]}},
        }
    )

    assert topology.bindings[0].arguments == {"x-match": "any", "kind": "pdf"}


def test_an_exchange_may_be_bound_to_another() -> None:
    topology = build(
        {
            "exchanges": {"tasks": {}, "events": {"bind": ["tasks[event.#]"]}, "more": {}},
            "bindings": ["events[#] -> more"],
        }
    )

    assert topology.bindings == (
        Binding(
            source="tasks", target="events", key="event.#", to_exchange=True, path=("exchanges", "events", "bind", 0)
        ),
        Binding(source="events", target="more", key="#", to_exchange=True, path=("bindings", 0)),
    )


def test_a_name_of_both_kinds_is_the_queue_unless_the_kind_is_given() -> None:
    mapping: dict[str, object] = {
        "exchanges": {"tasks": {}, "both": {}},
        "queues": {"both": {}},
        "bindings": ["tasks[a] -> both", {"from": "tasks", "to": "both", "key": "b", "kind": "exchange"}],
    }

    assert [binding.to_exchange for binding in build(mapping).bindings] == [False, True]


def test_routes_keep_their_order_and_options() -> None:
    config = load_mapping(
        {
            "exchanges": {"tasks": {}},
            "queues": {"hi": {"bind": ["tasks[#]"]}},
            "routes": [
                {"task": "mail.*", "exchange": "tasks", "key": "hi.{task}", "priority": 5, "confirm": False},
                {"task": "*", "queue": "hi", "persistent": False},
            ],
        }
    ).config

    first, second = build_routes(config)

    assert first.pattern == "mail.*"
    assert first.options == SendOptions(exchange="tasks", routing_key="hi.{task}", priority=5, confirm=False)
    assert second.options == SendOptions(queue="hi", persistent=False)
    assert second.path == ("routes", 1)
