"""A topology as people and programs see it."""

import json
from textwrap import dedent

from amqtask.config.load import load_mapping
from amqtask.config.topology import build_topology
from amqtask.core.topology_tree import as_json, draw

MAPPING: dict[str, object] = {
    "exchanges": {
        "tasks": {"alternate": "rest"},
        "rest": {"type": "fanout", "internal": True},
        "kinds": {"type": "headers", "durable": False, "bind": ["tasks[kind.#]"]},
    },
    "queues": {
        "hi": {"bind": ["tasks[hi.#, urgent.*]"], "max_length": 5},
        "lo": {"type": "classic", "dead_letter": {"exchange": "rest"}, "bind": ["amq.topic[lo]"]},
        "pdf": {"exclusive": True, "bind": [{"exchange": "kinds", "match": {"x-match": "any", "kind": "pdf"}}]},
        "all": {"bind": ["rest"], "declare": "verify"},
    },
}


def test_the_tree_shows_exchanges_with_their_keys_and_queues_with_their_settings() -> None:
    lines = list(draw(build_topology(load_mapping(MAPPING).config)))

    assert "\n".join(lines) == dedent(
        """\
        exchanges (4)
        ├─ tasks (topic, alternate rest)
        │  ├─ kind.#   -> exchange kinds
        │  ├─ hi.#     -> hi
        │  └─ urgent.* -> hi
        ├─ rest (fanout, internal)
        │  └─ "" -> all
        ├─ kinds (headers, transient)
        │  └─ "" {x-match=any, kind=pdf} -> pdf
        └─ amq.topic (topic)
           └─ lo -> lo
        queues (5)
        ├─ hi (quorum, max-length=5, dead letters -> hi.dlq)
        ├─ lo (classic, dead letters -> exchange rest)
        ├─ pdf (classic, exclusive)
        ├─ all (quorum, declare: verify)
        └─ hi.dlq (quorum)"""
    )


def test_the_json_holds_what_is_sent() -> None:
    found = json.loads(json.dumps(as_json(build_topology(load_mapping(MAPPING).config))))

    assert found["exchanges"][0]["arguments"] == {"alternate-exchange": "rest"}
    assert found["queues"][0]["dead_letters_to"] == "hi.dlq"
    assert found["bindings"][0] == {
        "source": "tasks",
        "destination": "kinds",
        "destination_type": "exchange",
        "routing_key": "kind.#",
        "arguments": {},
    }
