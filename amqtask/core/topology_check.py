"""Mistakes in a topology that can be seen before any broker is asked.

With a server's version, what that version refuses or does not know is found too.
"""

from collections.abc import Iterable, Iterator

from amqtask.core.finding import Finding, nearest
from amqtask.core.keys import MAX_KEY_BYTES, words
from amqtask.core.queue_arguments import (
    BY_KEY,
    CLASSIC,
    QUEUE_ARGUMENTS,
    QUEUE_TYPES,
    TYPE_SINCE,
    QueueArgument,
    Version,
)
from amqtask.core.topology import DEFAULT_EXCHANGE, Binding, Exchange, Path, Queue, Topology

MAX_NAME_BYTES = 255
"""Names are short strings (AMQP 0-9-1 §4.2.5.3)."""

OWN_PREFIX = "aqt."
"""What amqtask's own objects are named: never declared by hand."""

EXCHANGE_TYPES = ("direct", "topic", "fanout", "headers")
_MATCHES = ("all", "any", "all-with-x", "any-with-x")
_TWO_HASHES_SINCE: Version = (4, 3, 5)
_NO_TRANSIENT_SINCE: Version = (4, 3)


def check_topology(topology: Topology, *, server: Version | None = None) -> tuple[Finding, ...]:
    """All that is wrong with exchanges, queues and bindings, each by itself; see also `route_check` and `cycles`."""
    findings: list[Finding] = []
    for exchange in topology.exchanges.values():
        findings += _check_exchange(exchange, topology, server)
    for queue in topology.queues.values():
        findings += _check_queue(queue, topology, server)
    findings += _check_bindings(topology, server)
    return tuple(dict.fromkeys(findings))


def _check_name(name: str, path: Path, what: str) -> Iterator[Finding]:
    if not name:
        yield Finding(path=path, message=f"the name of the {what} is empty")
    elif len(name.encode()) > MAX_NAME_BYTES:
        yield Finding(path=path, message=f"the name of the {what} is longer than {MAX_NAME_BYTES} bytes")
    elif name.startswith("amq."):
        yield Finding(path=path, message=f'{what} "{name}": names that begin with "amq." are the server\'s own')
    elif name.startswith(OWN_PREFIX):
        yield Finding(path=path, message=f'{what} "{name}": names that begin with "{OWN_PREFIX}" are amqtask\'s own')
    elif name.startswith("amq") and what == "exchange":
        yield Finding(
            path=path,
            message=f'{what} "{name}": RabbitMQ before 3.11 exports no definitions of names that begin with "amq"',
            is_warning=True,
        )


def _check_exchange(exchange: Exchange, topology: Topology, server: Version | None) -> Iterator[Finding]:
    path, what = exchange.path, f'exchange "{exchange.name}"'
    yield from _check_name(exchange.name, path, "exchange")
    if exchange.type not in EXCHANGE_TYPES and not exchange.type.startswith("x-"):
        hint = nearest(exchange.type, EXCHANGE_TYPES)
        # A plugin may bring any name; a near miss of a known one is a slip.
        if hint is not None and hint.startswith("did"):
            yield Finding(path=(*path, "type"), message=f'{what}: unknown type "{exchange.type}"', hint=hint)
    if exchange.type == "x-delayed-message" and "x-delayed-type" not in exchange.arguments:
        yield Finding(path=(*path, "arguments"), message=f"{what}: x-delayed-message needs the argument x-delayed-type")
    if exchange.alternate is not None and topology.exchange_type(exchange.alternate) is None:
        yield _unknown_exchange(exchange.alternate, (*path, "alternate"), what, topology)
    if "alternate-exchange" in exchange.arguments:
        yield Finding(path=(*path, "arguments", "alternate-exchange"), message=f'{what}: write "alternate:" instead')
    leads_on = exchange.alternate is not None or any(True for _ in topology.bindings_of(exchange.name))
    if not leads_on and exchange.declare in (None, "always"):
        yield Finding(path=path, message=f"{what} has no bindings: it takes messages nowhere", is_warning=True)


def _unknown_exchange(name: str, path: Path, where: str, topology: Topology) -> Finding:
    return Finding(
        path=path, message=f'{where}: no exchange "{name}" is declared', hint=nearest(name, topology.exchanges)
    )


def _check_queue(queue: Queue, topology: Topology, server: Version | None) -> Iterator[Finding]:
    path, what = queue.path, f'queue "{queue.name}"'
    yield from _check_name(queue.name, path, "queue")
    since = TYPE_SINCE.get(queue.type)
    if server is not None and since is not None and server < since:
        yield Finding(path=(*path, "type"), message=f"{what}: {_too_old(f'{queue.type} queues', since, server)}")
    if queue.type != CLASSIC:
        flags = {"exclusive": queue.exclusive, "auto_delete": queue.auto_delete, "durable": not queue.durable}
        for flag, is_set in flags.items():
            if is_set:
                said = "cannot be durable: false" if flag == "durable" else f"cannot be {flag}"
                yield Finding(
                    path=(*path, flag), message=f"{what}: a {queue.type} queue {said}", hint="type: classic can"
                )
    elif not queue.durable and not queue.exclusive and (server is None or server >= _NO_TRANSIENT_SINCE):
        yield Finding(
            path=(*path, "durable"),
            message=f"{what}: RabbitMQ 4.3 refuses queues that are neither durable nor exclusive",
            hint="durable with expires, or exclusive",
            is_warning=server is None,
        )
    for key in queue.arguments:
        yield from _check_argument(queue, key, server)
    yield from _check_dead_letter(queue, topology)


def _check_argument(queue: Queue, key: str, server: Version | None) -> Iterator[Finding]:
    what, value = f'queue "{queue.name}"', queue.arguments[key]
    argument = BY_KEY.get(key)
    if key == "x-queue-type":
        yield Finding(path=(*queue.path, "arguments", key), message=f'{what}: write "type:" instead')
    if argument is None:
        return
    path = (*queue.path, *argument.setting.split("."))
    if queue.type not in argument.types:
        types = _types_of(argument.setting)
        if queue.type in types:
            return
        yield Finding(
            path=path, message=f"{what}: {argument.setting} is for {' and '.join(types)} queues, not {queue.type}"
        )
        return
    if not argument.is_well_formed(value):
        yield Finding(path=path, message=f"{what}: {value!r} is no value for {key}")
    legal = argument.values.get(queue.type)
    if legal is not None and value not in legal:
        message = f"{what}: {argument.setting} of a {queue.type} queue is {' or '.join(legal)}, not {value!r}"
        yield Finding(path=path, message=message)
    yield from _check_version(queue, argument, path, server)


def _check_version(queue: Queue, argument: QueueArgument, path: Path, server: Version | None) -> Iterator[Finding]:
    if server is None:
        return
    what = f'queue "{queue.name}"'
    since, until = argument.types[queue.type], argument.until.get(queue.type)
    if server < since:
        yield Finding(
            path=path, message=f"{what}: {_too_old(f'{argument.setting} of a {queue.type} queue', since, server)}"
        )
    if until is not None and server >= until:
        message = f"{what}: RabbitMQ {_dotted(until)} and later refuse {argument.setting} for a {queue.type} queue"
        yield Finding(path=path, message=message)


def _types_of(setting: str) -> list[str]:
    found = {kind for argument in QUEUE_ARGUMENTS if argument.setting == setting for kind in argument.types}
    return [kind for kind in QUEUE_TYPES if kind in found]


def _check_dead_letter(queue: Queue, topology: Topology) -> Iterator[Finding]:
    path, what, dead = (*queue.path, "dead_letter"), f'queue "{queue.name}"', queue.dead_letter
    if dead is None:
        if "x-dead-letter-routing-key" in queue.arguments or "x-dead-letter-strategy" in queue.arguments:
            yield Finding(path=path, message=f"{what}: dead-letter settings without a dead-letter exchange")
        limit = queue.arguments.get("x-delivery-limit")
        if isinstance(limit, int) and limit >= 0:
            message = f"{what}: messages over the delivery_limit are lost, because there is no dead_letter"
            yield Finding(path=(*queue.path, "delivery_limit"), message=message, is_warning=True)
        return
    if dead.exchange == DEFAULT_EXCHANGE:
        if dead.routing_key is not None and dead.routing_key not in topology.queues:
            message = f'{what}: no queue "{dead.routing_key}" is declared for its dead letters'
            yield Finding(path=path, message=message, hint=nearest(dead.routing_key, topology.queues))
    elif topology.exchange_type(dead.exchange) is None:
        yield _unknown_exchange(dead.exchange, (*path, "exchange"), f"{what}, dead_letter", topology)
    if (
        queue.arguments.get("x-dead-letter-strategy") == "at-least-once"
        and queue.arguments.get("x-overflow") != "reject-publish"
    ):
        yield Finding(path=(*path, "strategy"), message=f"{what}: at-least-once needs overflow: reject-publish")


def _check_bindings(topology: Topology, server: Version | None) -> Iterator[Finding]:
    seen: list[tuple[object, ...]] = []
    for binding in topology.bindings:
        what = f'binding of "{binding.target}" to "{binding.source}"'
        if binding.source == DEFAULT_EXCHANGE:
            yield Finding(path=binding.path, message=f"{what}: the default exchange takes no bindings")
        elif topology.exchange_type(binding.source) is None:
            yield _unknown_exchange(binding.source, binding.path, what, topology)
        yield from _check_target(binding, topology)
        if len(binding.key.encode()) > MAX_KEY_BYTES:
            yield Finding(path=binding.path, message=f"{what}: the key is longer than {MAX_KEY_BYTES} bytes")
        yield from _check_key(binding, topology.exchange_type(binding.source), what, server)
        same = (binding.source, binding.target, binding.to_exchange, binding.key, dict(binding.arguments))
        if same in seen:
            message = f"{what}: the key {binding.key!r} is bound twice"
            yield Finding(path=binding.path, message=message, is_warning=True)
        seen.append(same)


def _check_target(binding: Binding, topology: Topology) -> Iterator[Finding]:
    what = f'binding to "{binding.source}"'
    if binding.to_exchange:
        if binding.target == DEFAULT_EXCHANGE or topology.exchange_type(binding.target) is None:
            yield _unknown_exchange(binding.target, binding.path, what, topology)
        return
    if binding.target not in topology.queues:
        known: Iterable[str] = [*topology.queues, *topology.exchanges]
        message = f'{what}: no queue or exchange "{binding.target}" is declared'
        yield Finding(path=binding.path, message=message, hint=nearest(binding.target, known))
    elif binding.target in topology.exchanges and binding.path[:1] == ("bindings",):
        message = f'{what}: "{binding.target}" is a queue and an exchange; the queue is taken'
        yield Finding(path=binding.path, message=message, hint="kind: queue, or kind: exchange", is_warning=True)


def _check_key(binding: Binding, kind: str | None, what: str, server: Version | None) -> Iterator[Finding]:
    parts = words(binding.key)
    if kind == "topic" and parts.count("#") > 2 and (server is None or server >= _TWO_HASHES_SINCE):
        message = f"{what}: RabbitMQ 4.3.5 and later refuse more than two # in a key"
        yield Finding(path=binding.path, message=message, is_warning=server is None)
    if kind == "direct" and ("#" in parts or "*" in parts):
        message = f'{what}: a direct exchange takes "{binding.key}" literally, not as a pattern'
        yield Finding(path=binding.path, message=message, hint="a pattern needs type: topic", is_warning=True)
    if kind in ("fanout", "headers") and binding.key:
        message = f'{what}: a {kind} exchange does not look at the key "{binding.key}"'
        yield Finding(path=binding.path, message=message, is_warning=True)
    if kind == "headers" and binding.arguments.get("x-match", "all") not in _MATCHES:
        yield Finding(path=binding.path, message=f"{what}: x-match is one of {', '.join(_MATCHES)}")
    if kind in ("direct", "topic", "fanout") and binding.arguments:
        message = f"{what}: a {kind} exchange does not look at headers"
        yield Finding(path=binding.path, message=message, hint="match needs type: headers", is_warning=True)


def _too_old(what: str, since: Version, server: Version) -> str:
    return f"{what} need{'' if what.endswith('s') else 's'} RabbitMQ {_dotted(since)}, and this is {_dotted(server)}"


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
