"""Where a task goes: routes from task names to exchange and key, and the order in which call, route and task count."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from amqtask.core.finding import nearest
from amqtask.core.keys import KEY_FIELD, MAX_KEY_BYTES
from amqtask.core.matching import reached
from amqtask.core.message import Headers
from amqtask.core.topology import DEFAULT_EXCHANGE, Path, Topology
from amqtask.errors import NoRoute, UnknownQueue

TASK_KEY = "{task}"
"""The key where an exchange is given, but none."""

# A process that meets more names than this makes them up as it goes.
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What a call, a route or a task says about its way; None says nothing.

    `queue` goes without `exchange` and `routing_key`.
    """

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    confirm: bool | None = None
    persistent: bool | None = None
    mandatory: bool | None = None


NO_OPTIONS = SendOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where tasks go whose names match the pattern: a name, or a shell pattern with `*`, `?` and `[abc]`.

    The routing key of its options may hold `{task}`, `{kwargs.name}` and `{args.0}`.
    """

    pattern: str
    options: SendOptions
    path: Path = ()

    def matches(self, task: str) -> bool:
        """Whether the route is for a task of this name."""
        return self.pattern == task or fnmatch.fnmatchcase(task, self.pattern)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Where one message goes.

    `queues` are those of the topology that it reaches, `why` says in words who decided. `priority` and the three
    choices are None where neither call nor route nor task says anything.
    """

    exchange: str
    routing_key: str
    why: str
    queues: tuple[str, ...] = ()
    priority: int | None = None
    confirm: bool | None = None
    persistent: bool | None = None
    mandatory: bool | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    """Who decided on exchange and key, and the key before its fields are filled in."""

    exchange: str
    key: str
    why: str
    is_template: bool = False


class Router:
    """Finds each task's way. It is safe to share between threads; it remembers the ways of names it has seen."""

    def __init__(
        self,
        topology: Topology,
        routes: Sequence[Route] = (),
        *,
        default_queue: str | None = None,
        default_exchange: str | None = None,
    ) -> None:
        self.topology = topology
        self.routes = tuple(routes)
        self._default_queue = default_queue
        self._default_exchange = default_exchange
        self._known: dict[str, tuple[SendOptions, Routing]] = {}
        self._reached: dict[tuple[str, str], tuple[str, ...]] = {}

    def resolve(
        self,
        task: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        task_options: SendOptions = NO_OPTIONS,
        call_options: SendOptions = NO_OPTIONS,
        headers: Headers | None = None,
    ) -> Routing:
        """The way of one call: the call's options beat the first route that matches, the route beats the task's.

        `headers` matter to headers exchanges only, and only to `Routing.queues`.

        Raises:
            NoRoute: nobody names a queue or exchange, the exchange is not declared, or the key cannot be made.
            UnknownQueue: the queue is not declared.
        """
        known = self._known.get(task)
        if known is not None and call_options is NO_OPTIONS and known[0] is task_options and headers is None:
            return known[1]
        route = self.route(task)
        by_route = route.options if route is not None else NO_OPTIONS
        levels = ((call_options, "the call"), (by_route, _title(route)), (task_options, "the task's options"))
        choice = self._choose(task, levels)
        key = _fill(choice.key, task, args, kwargs or {}) if choice.is_template else choice.key
        if len(key.encode()) > MAX_KEY_BYTES:
            raise NoRoute(f"the routing key of {task} is longer than {MAX_KEY_BYTES} bytes: {key[:60]}…")
        self._check(choice.exchange, key)
        routing = Routing(
            exchange=choice.exchange,
            routing_key=key,
            why=choice.why,
            queues=self._queues(choice.exchange, key, headers),
            priority=_first(call_options.priority, by_route.priority, task_options.priority),
            confirm=_first(call_options.confirm, by_route.confirm, task_options.confirm),
            persistent=_first(call_options.persistent, by_route.persistent, task_options.persistent),
            mandatory=_first(call_options.mandatory, by_route.mandatory, task_options.mandatory),
        )
        if call_options is NO_OPTIONS and headers is None and "{kwargs" not in choice.key and "{args" not in choice.key:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[task] = (task_options, routing)
        return routing

    def route(self, task: str) -> Route | None:
        """The first route for this task, or None."""
        return next((route for route in self.routes if route.matches(task)), None)

    def _choose(self, task: str, levels: Sequence[tuple[SendOptions, str]]) -> _Choice:
        exchange: str | None = None
        key: str | None = None
        is_template = False
        why: dict[str, list[str]] = {}
        for index, (options, title) in enumerate(levels):
            if options.queue is not None:
                if options.exchange is not None or options.routing_key is not None:
                    raise NoRoute(
                        f"{title} gives a queue and an exchange or routing key for {task}; one of both is wrong"
                    )
                if exchange is None and key is None:
                    return _Choice(DEFAULT_EXCHANGE, options.queue, f'queue "{options.queue}" by {title}')
                continue
            if exchange is None and options.exchange is not None:
                exchange = options.exchange
                why.setdefault(title, []).append(f'exchange "{exchange}"')
            if key is None and options.routing_key is not None:
                key = options.routing_key
                is_template = index == 1
                why.setdefault(title, []).append(f'key "{key}"')
        if exchange is None and key is None:
            if self._default_queue is None:
                raise NoRoute(
                    f"no route takes {task}, and neither the call nor the task names a queue or an exchange; "
                    "add it to `routes`, or set `tasks.default_queue`"
                )
            return _Choice(
                DEFAULT_EXCHANGE, self._default_queue, f'queue "{self._default_queue}" by tasks.default_queue'
            )
        if exchange is None:
            if self._default_exchange is None:
                raise NoRoute(
                    f'there is a routing key "{key}" for {task}, but no exchange; give one, or set '
                    "`tasks.default_exchange`"
                )
            exchange = self._default_exchange
            why["tasks.default_exchange"] = [f'exchange "{exchange}"']
        if key is None:
            key, is_template = TASK_KEY, True
            why["default, because none is given"] = [f'key "{key}"']
        return _Choice(
            exchange, key, ", ".join(f"{' and '.join(what)} by {who}" for who, what in why.items()), is_template
        )

    def _check(self, exchange: str, key: str) -> None:
        if exchange == DEFAULT_EXCHANGE:
            if key not in self.topology.queues:
                raise UnknownQueue(f'no queue "{key}" is declared ({nearest(key, self.topology.queues)})')
        elif self.topology.exchange_type(exchange) is None:
            raise NoRoute(f'no exchange "{exchange}" is declared ({nearest(exchange, self.topology.exchanges)})')

    def _queues(self, exchange: str, key: str, headers: Headers | None) -> tuple[str, ...]:
        if headers is not None:
            return reached(self.topology, exchange, key, headers)
        known = self._reached.get((exchange, key))
        if known is None:
            if len(self._reached) >= _MOST_REMEMBERED:
                self._reached.clear()
            known = self._reached[exchange, key] = reached(self.topology, exchange, key)
        return known


_T = TypeVar("_T")


def _first(*values: _T | None) -> _T | None:
    return next((value for value in values if value is not None), None)


def _title(route: Route | None) -> str:
    if route is None:
        return "no route"
    place = "".join(f"[{part}]" if isinstance(part, int) else f"{part}" for part in route.path)
    return f'the route "{route.pattern}"' + (f" ({place})" if place else "")


def _fill(template: str, task: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    def value(match: re.Match[str]) -> str:
        if match["task"]:
            return task
        if (name := match["keyword"]) is not None:
            if name not in kwargs:
                raise NoRoute(f'the routing key "{template}" of {task} needs the keyword argument "{name}"')
            return _text(kwargs[name], template, match[0])
        index = int(match["index"])
        if index >= len(args):
            raise NoRoute(f'the routing key "{template}" of {task} needs the positional argument {index}')
        return _text(args[index], template, match[0])

    return KEY_FIELD.sub(value, template)


def _text(value: object, template: str, field: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)):
        return str(value)
    raise NoRoute(f'{field} of the routing key "{template}" is a {type(value).__name__}, not text or a whole number')
