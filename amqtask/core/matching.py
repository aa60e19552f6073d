"""Which queues a message reaches: the exchanges' rules, over a topology."""

from collections.abc import Callable

from amqtask.core.keys import Keys, literal, meet, topic_keys, topic_matches
from amqtask.core.message import Headers, HeaderValue
from amqtask.core.topology import DEFAULT_EXCHANGE, Binding, Topology


def reached(topology: Topology, exchange: str, key: str, headers: Headers | None = None) -> tuple[str, ...]:
    """The queues that a message reaches, in the topology's order.

    Follows exchange-to-exchange bindings and, where an exchange has no use for a message, its alternate exchange. An
    exchange of a plugin's type that is not known here is taken to use all of its bindings.
    """
    given = headers or {}
    return _spread(
        topology,
        exchange,
        takes=lambda kind, binding: _takes(kind, binding, key, given),
        named=lambda queue: queue == key,
        certain=True,
    )


def may_reach(topology: Topology, exchange: str, keys: Keys) -> tuple[str, ...]:
    """The queues that a message with one of these keys, and any headers, may reach."""
    return _spread(
        topology,
        exchange,
        takes=lambda kind, binding: _may_take(kind, binding, keys),
        named=lambda queue: meet(literal(queue), keys),
        certain=False,
    )


def headers_match(wanted: Headers, given: Headers) -> bool:
    """Whether a headers exchange takes a message (`rabbit_exchange_type_headers.erl`).

    `x-match` is all, any, all-with-x or any-with-x; without "-with-x", wanted headers that begin with "x-" do not
    count. A wanted header of no value asks for presence only.
    """
    mode = wanted.get("x-match", "all")
    with_x = mode in ("all-with-x", "any-with-x")
    names = [name for name in wanted if name != "x-match" and (with_x or not name.startswith("x-"))]
    hits = (name in given and _same(wanted[name], given[name]) for name in names)
    return any(hits) if mode in ("any", "any-with-x") else all(hits)


def _same(wanted: HeaderValue, given: HeaderValue) -> bool:
    if wanted is None:
        return True
    # To the broker true is not 1 and 1 is not 1.0, as they are to Python.
    return type(wanted) is type(given) and wanted == given


def _takes(kind: str, binding: Binding, key: str, headers: Headers) -> bool:
    if kind == "direct":
        return binding.key == key
    if kind == "topic":
        return topic_matches(binding.key, key)
    if kind == "headers":
        return headers_match(binding.arguments, headers)
    return True


def _may_take(kind: str, binding: Binding, keys: Keys) -> bool:
    if kind == "direct":
        return meet(literal(binding.key), keys)
    if kind == "topic":
        return any(meet(pattern, keys) for pattern in topic_keys(binding.key))
    return True


def _kind(topology: Topology, exchange: str) -> str:
    """The type that decides; that of the delayed message plugin is in an argument."""
    kind = topology.exchange_type(exchange) or ""
    if kind == "x-delayed-message" and exchange in topology.exchanges:
        return str(topology.exchanges[exchange].arguments.get("x-delayed-type", ""))
    return kind


def _spread(
    topology: Topology,
    exchange: str,
    *,
    takes: Callable[[str, Binding], bool],
    named: Callable[[str], bool],
    certain: bool,
) -> tuple[str, ...]:
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [exchange]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name == DEFAULT_EXCHANGE:
            found.update(queue for queue in topology.queues if named(queue))
            continue
        kind = _kind(topology, name)
        taken = [binding for binding in topology.bindings_of(name) if takes(kind, binding)]
        found.update(binding.target for binding in taken if not binding.to_exchange)
        waiting.extend(binding.target for binding in taken if binding.to_exchange)
        known = topology.exchanges.get(name)
        if known is not None and known.alternate is not None and not (taken and certain):
            waiting.append(known.alternate)
    return tuple(queue for queue in topology.queues if queue in found)
