"""Mistakes in routes: names that nobody declares, keys that reach no queue, routes that are never taken."""

from collections.abc import Iterator, Sequence

from amqtask.core.finding import Finding, nearest
from amqtask.core.keys import KEY_FIELD, glob_keys, template_keys
from amqtask.core.matching import may_reach
from amqtask.core.routing import TASK_KEY, Route
from amqtask.core.topology import Path, Topology


def check_routes(
    routes: Sequence[Route],
    topology: Topology,
    *,
    default_queue: str | None = None,
    default_exchange: str | None = None,
    mentions: Sequence[tuple[Path, str]] = (),
) -> tuple[Finding, ...]:
    """Names that nobody declares, in routes and in the settings beside them, and routes that are never taken.

    `mentions` are other settings that name queues, each with its path.
    """
    findings: list[Finding] = []
    for index, route in enumerate(routes):
        findings += _check_route(route, topology)
        earlier = next((other for other in routes[:index] if _covers(other.pattern, route.pattern)), None)
        if earlier is not None:
            message = (
                f'the route "{route.pattern}" is never taken: "{earlier.pattern}" before it takes all that it would'
            )
            findings.append(Finding(path=(*route.path, "task"), message=message))
    if default_queue is not None and default_queue not in topology.queues:
        findings.append(_unknown_queue(default_queue, ("tasks", "default_queue"), topology))
    if default_exchange is not None and topology.exchange_type(default_exchange) is None:
        findings.append(_unknown_exchange(default_exchange, ("tasks", "default_exchange"), topology))
    findings += [_unknown_queue(name, path, topology) for path, name in mentions if name not in topology.queues]
    return tuple(findings)


def check_reach(
    routes: Sequence[Route],
    topology: Topology,
    *,
    default_queue: str | None = None,
    default_exchange: str | None = None,
) -> tuple[Finding, ...]:
    """Routes that reach no queue, and queues that nothing reaches."""
    findings: list[Finding] = []
    for route in routes:
        findings += _check_reach(route, topology, route.options.exchange or default_exchange)
    findings += _check_fed(topology, {route.options.queue for route in routes} | {default_queue})
    return tuple(findings)


def _check_route(route: Route, topology: Topology) -> Iterator[Finding]:
    options, path = route.options, route.path
    if options.queue is not None:
        if options.queue not in topology.queues:
            yield _unknown_queue(options.queue, (*path, "queue"), topology)
        return
    key = options.routing_key or ""
    if not _is_template(key):
        message = f'the route "{route.pattern}": the key "{key}" has a field that is not known'
        yield Finding(path=(*path, "key"), message=message, hint="known: {task}, {kwargs.name}, {args.0}")
    if options.exchange is None:
        return
    if topology.exchange_type(options.exchange) is None:
        yield _unknown_exchange(options.exchange, (*path, "exchange"), topology)
        return
    declared = topology.exchanges.get(options.exchange)
    if declared is not None and declared.internal:
        message = f'the route "{route.pattern}": the exchange "{options.exchange}" is internal and takes no publishes'
        yield Finding(path=(*path, "exchange"), message=message)


def _check_reach(route: Route, topology: Topology, exchange: str | None) -> Iterator[Finding]:
    if route.options.queue is not None or exchange is None or topology.exchange_type(exchange) is None:
        return
    declared = topology.exchanges.get(exchange)
    if declared is not None and declared.declare not in (None, "always"):
        # Somebody else's exchange: what is bound to it is theirs to know.
        return
    key = route.options.routing_key if route.options.routing_key is not None else TASK_KEY
    if _is_template(key) and not may_reach(topology, exchange, template_keys(key, glob_keys(route.pattern))):
        keys = list(dict.fromkeys(f'"{binding.key}"' for binding in topology.bindings_of(exchange)))
        yield Finding(
            path=(*route.path, "task" if route.options.routing_key is None else "key"),
            message=f'the route "{route.pattern}" reaches no queue: exchange "{exchange}", key "{key}"',
            hint=f"bound there: {', '.join(keys)}" if keys else "nothing is bound there",
        )


def _is_template(key: str) -> bool:
    return not set("{}") & set(KEY_FIELD.sub("", key))


def _covers(wide: str, narrow: str) -> bool:
    """Whether one pattern surely takes every name that another takes: it is the same, or a prefix of it with `*`."""
    if wide == narrow:
        return True
    prefix = wide.removesuffix("*")
    return wide.endswith("*") and not any(sign in prefix for sign in "*?[") and narrow.startswith(prefix)


def _check_fed(topology: Topology, named: set[str | None]) -> Iterator[Finding]:
    bound = {binding.target for binding in topology.bindings if not binding.to_exchange}
    dead = topology.dead_letter_queues()
    for queue in topology.queues.values():
        ours = queue.declare in (None, "always") and queue.path == ("queues", queue.name)
        if ours and queue.name not in bound | dead | named:
            yield Finding(
                path=queue.path,
                message=f'nothing is bound to the queue "{queue.name}", and no route names it',
                hint="only calls with queue= reach it",
                is_warning=True,
            )


def _unknown_queue(name: str, path: Path, topology: Topology) -> Finding:
    return Finding(path=path, message=f'no queue "{name}" is declared', hint=nearest(name, topology.queues))


def _unknown_exchange(name: str, path: Path, topology: Topology) -> Finding:
    return Finding(path=path, message=f'no exchange "{name}" is declared', hint=nearest(name, topology.exchanges))
