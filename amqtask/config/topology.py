"""The configuration's objects and routes as values of the core."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from amqtask.config.model import Config
from amqtask.config.objects import BindConfig, DeadLetterConfig, QueueConfig, QueueSettings, RouteConfig
from amqtask.core.message import HeaderValue
from amqtask.core.queue_arguments import CLASSIC, QUEUE_ARGUMENTS, QUORUM, STREAM
from amqtask.core.routing import Route, Router, SendOptions
from amqtask.core.topology import DEFAULT_EXCHANGE, Binding, Exchange, Path, Queue, Topology

DLQ_SUFFIX = ".dlq"


def build_topology(config: Config) -> Topology:
    """What the configuration declares, with the dead-letter queues that nobody has to write."""
    exchanges = {
        name: Exchange(
            name=name,
            type=given.type or config.defaults.exchange.type,
            durable=given.durable,
            auto_delete=given.auto_delete,
            internal=given.internal,
            alternate=given.alternate,
            arguments=_values(given.arguments),
            declare=given.declare,
            path=("exchanges", name),
        )
        for name, given in config.exchanges.items()
    }
    queues: dict[str, Queue] = {}
    made: dict[str, Queue] = {}
    targets = _targets(config)
    for name, given in config.queues.items():
        queue = _queue(name, given, config.defaults.queue)
        dead = _dead_letter(queue, given, config, targets)
        if dead is None or not dead.enabled:
            queue = _without_default_limit(queue, given)
        else:
            queue = replace(queue, arguments={**queue.arguments, **_dead_letter_arguments(name, dead)})
            own = name + DLQ_SUFFIX
            if (dead.queue or own) == own and dead.exchange is None and own not in config.queues:
                made[own] = _dead_letter_queue(own, queue, config.defaults.queue)
        queues[name] = queue
    return Topology(
        exchanges=exchanges, queues={**queues, **made}, bindings=tuple(_bindings(config, {**queues, **made}))
    )


def build_routes(config: Config) -> tuple[Route, ...]:
    """The routes, in their order."""
    return tuple(
        Route(pattern=given.task, options=_options(given), path=("routes", index))
        for index, given in enumerate(config.routes)
    )


def build_router(config: Config) -> Router:
    """The router of the configuration."""
    return Router(
        build_topology(config),
        build_routes(config),
        default_queue=config.tasks.default_queue,
        default_exchange=config.tasks.default_exchange,
    )


def _options(route: RouteConfig) -> SendOptions:
    return SendOptions(
        queue=route.queue,
        exchange=route.exchange,
        routing_key=route.key,
        priority=route.priority,
        confirm=route.confirm,
        persistent=route.persistent,
        mandatory=route.mandatory,
    )


def _values(arguments: Mapping[str, object]) -> dict[str, HeaderValue]:
    """Arguments of the file: JSON's values, all of which a field table can hold."""
    return {name: _value(value) for name, value in arguments.items()}


def _value(value: object) -> HeaderValue:
    if isinstance(value, Mapping):
        return _values(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    assert value is None or isinstance(value, (bool, int, float, str))
    return value


def _queue(name: str, given: QueueConfig, defaults: QueueSettings) -> Queue:
    """A queue without its dead letters; what is declared elsewhere has no defaults from here."""
    general = defaults if given.declare in (None, "always") else QueueSettings()
    lasting = given.durable and not given.exclusive and not given.auto_delete
    kind = given.type or ((defaults.type or QUORUM) if lasting else CLASSIC)
    arguments: dict[str, HeaderValue] = {}
    for argument in QUEUE_ARGUMENTS:
        if argument.setting.startswith("dead_letter."):
            continue
        fits = kind in argument.types
        own, default = _setting(given, argument.setting), _setting(general, argument.setting)
        if own is not None:
            # One setting may be spelled in two ways, each for one type. One that does not fit at all is kept, so that
            # the check finds it.
            if fits or not any(other.setting == argument.setting and kind in other.types for other in QUEUE_ARGUMENTS):
                arguments[argument.key] = argument.encode(own)
        elif default is not None and fits and str(default) in argument.values.get(kind, (str(default),)):
            arguments[argument.key] = argument.encode(default)
    return Queue(
        name=name,
        type=kind,
        durable=given.durable,
        exclusive=given.exclusive,
        auto_delete=given.auto_delete,
        arguments={**arguments, **_values(given.arguments)},
        declare=given.declare,
        path=("queues", name),
    )


def _without_default_limit(queue: Queue, given: QueueConfig) -> Queue:
    """Over the limit a message is dead-lettered, or lost: nobody loses one because of a default."""
    if given.delivery_limit is not None or queue.dead_letter is not None:
        return queue
    if "x-delivery-limit" in given.arguments:
        return queue
    return replace(queue, arguments={key: value for key, value in queue.arguments.items() if key != "x-delivery-limit"})


def _setting(settings: QueueSettings, name: str) -> bool | int | float | str | None:
    """The value of `max_length` or `delayed_retry.min`."""
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, (bool, int, float, str)) else None


def _targets(config: Config) -> frozenset[str]:
    """The queues that are named as somebody's dead-letter queue."""
    named = [config.defaults.queue.dead_letter, *(given.dead_letter for given in config.queues.values())]
    queues = {dead.queue for dead in named if dead is not None and dead.queue is not None}
    return frozenset(queues | {name + DLQ_SUFFIX for name in config.queues})


def _dead_letter(queue: Queue, given: QueueConfig, config: Config, targets: frozenset[str]) -> DeadLetterConfig | None:
    """What the file says of a queue's dead letters, or what is done where it says nothing."""
    if given.dead_letter is not None:
        return given.dead_letter
    ours = queue.declare in (None, "always") and queue.durable and not queue.exclusive and not queue.auto_delete
    if not ours or queue.type == STREAM or queue.name in targets or queue.name.endswith(DLQ_SUFFIX):
        return None
    if "x-dead-letter-exchange" in queue.arguments:
        return None
    default = config.defaults.queue.dead_letter or DeadLetterConfig()
    if default.strategy is not None and queue.type != QUORUM:
        return default.model_copy(update={"strategy": None})
    return default


def _dead_letter_arguments(name: str, dead: DeadLetterConfig) -> dict[str, HeaderValue]:
    arguments: dict[str, HeaderValue] = {}
    if dead.exchange is not None:
        arguments["x-dead-letter-exchange"] = dead.exchange
        if dead.routing_key is not None:
            arguments["x-dead-letter-routing-key"] = dead.routing_key
    else:
        # The default exchange reaches a queue by its name: nothing else has to be declared.
        arguments["x-dead-letter-exchange"] = DEFAULT_EXCHANGE
        arguments["x-dead-letter-routing-key"] = dead.queue or name + DLQ_SUFFIX
    if dead.strategy is not None:
        arguments["x-dead-letter-strategy"] = dead.strategy
    return arguments


def _dead_letter_queue(name: str, source: Queue, defaults: QueueSettings) -> Queue:
    kind = CLASSIC if defaults.type == CLASSIC else QUORUM
    # Nothing comes after it: with a limit, looking at its messages often enough would throw them away (RabbitMQ 4.0 to
    # 4.2 count that).
    arguments: dict[str, HeaderValue] = {"x-delivery-limit": -1} if kind == QUORUM else {}
    return Queue(name=name, type=kind, arguments=arguments, path=(*source.path, "dead_letter"))


def _bindings(config: Config, queues: Mapping[str, Queue]) -> Iterator[Binding]:
    for name, exchange in config.exchanges.items():
        for index, bind in enumerate(exchange.bind):
            yield from _beside(bind, name, ("exchanges", name, "bind", index), to_exchange=True)
    for name, queue in config.queues.items():
        for index, bind in enumerate(queue.bind):
            yield from _beside(bind, name, ("queues", name, "bind", index), to_exchange=False)
    for index, given in enumerate(config.bindings):
        to_exchange = given.target not in queues and given.target in config.exchanges
        for key in given.routing_keys():
            yield Binding(
                source=given.source,
                target=given.target,
                key=key,
                to_exchange=to_exchange if given.kind is None else given.kind == "exchange",
                arguments=_values({**given.arguments, **given.match}),
                path=("bindings", index),
            )


def _beside(bind: BindConfig, target: str, path: Path, *, to_exchange: bool) -> Iterator[Binding]:
    for key in bind.routing_keys():
        yield Binding(
            source=bind.exchange,
            target=target,
            key=key,
            to_exchange=to_exchange,
            arguments=_values({**bind.arguments, **bind.match}),
            path=path,
        )
