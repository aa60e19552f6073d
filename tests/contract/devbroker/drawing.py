"""What random scripts are made of: names, arguments, properties."""

import uuid
from typing import Any

import pika
from hypothesis import strategies as st

PREFIX = f"diff.{uuid.uuid4().hex[:8]}."
QUEUES = [PREFIX + name for name in ("a", "b", "c", "d")]
STREAM = f"{PREFIX}s"
EVERY_QUEUE = [*QUEUES, STREAM]
EXCHANGES = [PREFIX + name for name in ("x", "y", "z")]
CONSUMERS = ["one", "two", "three"]
"""Channels of consumers; the tag of the consumer is the same."""
VERDICTS = ["ack", "nack", "requeue", "reject", "reject and requeue"]
KINDS = ["direct", "fanout", "topic", "headers"]

SOON = {"0", "1"}
"""Expirations that are over before the next step."""

Arguments = dict[str, Any]


def merged(*parts: Arguments) -> Arguments:
    return {name: value for part in parts for name, value in part.items()}


queues = st.sampled_from(QUEUES)
exchanges = st.sampled_from(EXCHANGES)
targets = st.sampled_from([*EXCHANGES, ""])
keys = st.sampled_from(["k", "a.b", "a.b.c", "", "a..b", *EVERY_QUEUE])
patterns = st.sampled_from(["k", "#", "*", "a.*", "a.#", "*.b.#", "#.c", "a.#.b", "", *EVERY_QUEUE])
match_headers: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {}, optional={"one": st.sampled_from([1, "1", True, None]), "two": st.just("2")}
)
kinds = st.sampled_from(KINDS)
alternates = st.one_of(st.none(), exchanges)
bind_arguments = st.builds(merged, st.sampled_from([{}, {"x-match": "any"}, {"x-match": "all"}]), match_headers)
binding = (queues, exchanges, patterns, bind_arguments)

limits: st.SearchStrategy[Arguments] = st.sampled_from(
    [{}, {}, {"x-max-length": 2}, {"x-max-length-bytes": 8}, {"x-max-length": 0}, {"x-max-length": 1}]
)
overflows: st.SearchStrategy[Arguments] = st.sampled_from(
    [{}, {"x-overflow": "reject-publish"}, {"x-overflow": "reject-publish-dlx"}, {"x-overflow": "drop-head"}]
)
ttls: st.SearchStrategy[Arguments] = st.sampled_from([{}, {}, {}, {"x-message-ttl": 1}, {"x-message-ttl": 3_600_000}])
dead_letters: st.SearchStrategy[Arguments] = st.one_of(
    st.just({}),
    st.builds(lambda exchange: {"x-dead-letter-exchange": exchange}, targets),
    st.builds(
        lambda exchange, key: {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": key}, targets, keys
    ),
)
priorities: st.SearchStrategy[Arguments] = st.sampled_from([{}, {}, {"x-max-priority": 3}])
turns: st.SearchStrategy[Arguments] = st.sampled_from([{}, {}, {}, {"x-single-active-consumer": True}])
idle: st.SearchStrategy[Arguments] = st.sampled_from([{}, {}, {}, {"x-expires": 3_600_000}])
classic = st.builds(merged, limits, overflows, ttls, dead_letters, priorities, turns, idle)
brief = st.builds(merged, classic, st.just({"x-expires": 1}))
quorum = st.builds(
    merged,
    limits,
    ttls,
    dead_letters,
    turns,
    idle,
    st.sampled_from([{}, {"x-delivery-limit": 2}, {"x-delivery-limit": 0}]),
    st.just({"x-queue-type": "quorum"}),
)
refused: st.SearchStrategy[Arguments] = st.sampled_from(
    [{"x-message-ttl": -1}, {"x-max-length": "1"}, {"x-overflow": "no"}, {"x-expires": 0}, {"x-queue-type": "no"}]
)
working = st.one_of(classic, classic, quorum)
queue_arguments = st.one_of(working, working, working, refused, brief)

consuming = st.fixed_dictionaries(
    {},
    optional={
        "auto_ack": st.sampled_from([False, False, True]),
        "exclusive": st.sampled_from([False, False, False, True]),
        "arguments": st.sampled_from([{}, {"x-priority": 1}, {"x-priority": -1}, {"x-priority": 9}]),
    },
)
offsets = st.sampled_from(["first", "next", "last", 0, 1, 3, 100])

headers: st.SearchStrategy[Arguments | None] = st.one_of(
    st.none(),
    match_headers,
    st.builds(lambda copies: {"CC": copies}, st.lists(keys, min_size=1, max_size=2)),
    st.builds(lambda copies: {"BCC": copies, "n": 1}, st.lists(keys, min_size=1, max_size=2)),
)
properties = st.builds(
    lambda **named: pika.BasicProperties(**{name: value for name, value in named.items() if value is not None}),
    headers=headers,
    expiration=st.sampled_from([None] * 6 + ["1", "3600000", "0", "no", "-1"]),
    priority=st.sampled_from([None, 0, 1, 2, 9]),
    delivery_mode=st.sampled_from([None, 1, 2]),
    user_id=st.sampled_from([None] * 10 + ["guest", "other"]),
    message_id=st.sampled_from([None, "m"]),
)
