"""A topology drawn as a tree, and as plain JSON values."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from amqtask.core.message import HeaderValue
from amqtask.core.topology import BUILTIN_EXCHANGES, DEFAULT_EXCHANGE, Binding, Exchange, Queue, Topology

_T = TypeVar("_T")


def draw(topology: Topology) -> Iterator[str]:
    """Lines: exchanges with the keys that lead out of them, then queues with what matters of each."""
    used = {binding.source for binding in topology.bindings}
    exchanges = list(topology.exchanges) + [
        name for name in BUILTIN_EXCHANGES if name in used and name not in topology.exchanges
    ]
    yield f"exchanges ({len(exchanges)})"
    for last, name in _marked(exchanges):
        exchange = topology.exchanges.get(name, Exchange(name=name, type=BUILTIN_EXCHANGES.get(name, "direct")))
        yield f"{_branch(last)}{name} ({', '.join(_exchange_notes(exchange))})"
        bindings = list(topology.bindings_of(name))
        width = max((len(_label(binding)) for binding in bindings), default=0)
        for end, binding in _marked(bindings):
            target = f"exchange {binding.target}" if binding.to_exchange else binding.target
            yield f"{_indent(last)}{_branch(end)}{_label(binding):<{width}} -> {target}"
    yield f"queues ({len(topology.queues)})"
    for last, name in _marked(list(topology.queues)):
        yield f"{_branch(last)}{name} ({', '.join(_queue_notes(topology.queues[name]))})"


def as_json(topology: Topology) -> dict[str, object]:
    """The topology in JSON's values, each object with what is sent for it."""
    return {
        "exchanges": [
            {
                "name": exchange.name,
                "type": exchange.type,
                "durable": exchange.durable,
                "auto_delete": exchange.auto_delete,
                "internal": exchange.internal,
                "arguments": dict(exchange.declaration().arguments),
            }
            for exchange in topology.exchanges.values()
        ],
        "queues": [
            {
                "name": queue.name,
                "type": queue.type,
                "durable": queue.durable,
                "exclusive": queue.exclusive,
                "auto_delete": queue.auto_delete,
                "arguments": dict(queue.arguments),
                "dead_letters_to": _dead_letters(queue),
            }
            for queue in topology.queues.values()
        ],
        "bindings": [
            {
                "source": binding.source,
                "destination": binding.target,
                "destination_type": "exchange" if binding.to_exchange else "queue",
                "routing_key": binding.key,
                "arguments": dict(binding.arguments),
            }
            for binding in topology.bindings
        ],
    }


def _marked(items: Sequence[_T]) -> Iterator[tuple[bool, _T]]:
    """Each item, and whether it is the last."""
    for index, item in enumerate(items):
        yield index == len(items) - 1, item


def _branch(last: bool) -> str:
    return "└─ " if last else "├─ "


def _indent(last: bool) -> str:
    return "   " if last else "│  "


def _label(binding: Binding) -> str:
    key = binding.key or '""'
    match = ", ".join(_pair(name, value) for name, value in binding.arguments.items())
    return f"{key} {{{match}}}" if match else key


def _exchange_notes(exchange: Exchange) -> Iterator[str]:
    yield exchange.type
    if not exchange.durable:
        yield "transient"
    if exchange.auto_delete:
        yield "auto_delete"
    if exchange.internal:
        yield "internal"
    if exchange.alternate is not None:
        yield f"alternate {exchange.alternate}"
    yield from (_pair(name, value) for name, value in exchange.arguments.items())
    if exchange.declare not in (None, "always"):
        yield f"declare: {exchange.declare}"


def _queue_notes(queue: Queue) -> Iterator[str]:
    yield queue.type
    if not queue.durable:
        yield "transient"
    if queue.exclusive:
        yield "exclusive"
    if queue.auto_delete:
        yield "auto_delete"
    made = queue.path[-1:] == ("dead_letter",)
    for name, value in queue.arguments.items():
        # What nobody wrote is not shown: that the dead-letter queues that are made have no delivery limit.
        if not name.startswith("x-dead-letter-") and not (made and name == "x-delivery-limit"):
            yield _pair(name.removeprefix("x-"), value)
    strategy = queue.arguments.get("x-dead-letter-strategy")
    if (target := _dead_letters(queue)) is not None:
        yield f"dead letters -> {target}" + (f", {strategy}" if isinstance(strategy, str) else "")
    if queue.declare not in (None, "always"):
        yield f"declare: {queue.declare}"


def _pair(name: str, value: HeaderValue) -> str:
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    return f"{name}={value if isinstance(value, str) else repr(value)}"


def _dead_letters(queue: Queue) -> str | None:
    dead = queue.dead_letter
    if dead is None:
        return None
    if dead.exchange == DEFAULT_EXCHANGE and dead.routing_key is not None:
        return dead.routing_key
    return f"exchange {dead.exchange}" + (f"[{dead.routing_key}]" if dead.routing_key is not None else "")
