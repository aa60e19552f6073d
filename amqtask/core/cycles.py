"""Dead letters that come back: queues whose dead letters reach one of their own kind again."""

from collections.abc import Iterator, Mapping

from amqtask.core.finding import Finding
from amqtask.core.keys import ANY, Keys, literal, topic_keys
from amqtask.core.matching import may_reach
from amqtask.core.topology import Queue, Topology


def check_cycles(topology: Topology) -> tuple[Finding, ...]:
    """Dead-letter cycles. A cycle of time-outs alone is wrong: the server drops what comes round, in silence.

    A cycle with a rejection in it, the usual retry by hand, is a warning: nothing counts the rounds.
    """
    graph = {queue.name: _dead_letters_to(queue, topology) for queue in topology.queues.values()}
    findings = []
    reported: set[str] = set()
    for name in graph:
        cycle = _cycle_from(name, graph)
        if cycle is None or reported & set(cycle):
            continue
        reported |= set(cycle)
        queues = [topology.queues[member] for member in cycle]
        round_trip = " -> ".join([*cycle, cycle[0]])
        path = (*queues[0].path, "dead_letter")
        if all("x-message-ttl" in queue.arguments for queue in queues):
            message = f"dead letters go round, {round_trip}: the server drops expired messages that come back"
            findings.append(Finding(path=path, message=message))
        else:
            message = f"dead letters go round, {round_trip}: a message that is always rejected never ends"
            findings.append(Finding(path=path, message=message, is_warning=True))
    return tuple(findings)


def _dead_letters_to(queue: Queue, topology: Topology) -> tuple[str, ...]:
    dead = queue.dead_letter
    if dead is None:
        return ()
    keys = [literal(dead.routing_key)] if dead.routing_key is not None else list(_keys_into(queue, topology))
    found = {name for wanted in keys for name in may_reach(topology, dead.exchange, wanted)}
    return tuple(name for name in topology.queues if name in found)


def _keys_into(queue: Queue, topology: Topology) -> Iterator[Keys]:
    """The keys of messages that may be in a queue: its bindings', and its name by the default exchange."""
    yield literal(queue.name)
    for binding in topology.bindings:
        if binding.to_exchange or binding.target != queue.name:
            continue
        kind = topology.exchange_type(binding.source)
        if kind == "topic":
            yield from topic_keys(binding.key)
        elif kind == "direct":
            yield literal(binding.key)
        else:
            yield ANY


def _cycle_from(start: str, graph: Mapping[str, tuple[str, ...]]) -> list[str] | None:
    """A shortest way from a queue back to itself, or None."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for target in graph[way[-1]]:
            if target == start:
                return way
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None
