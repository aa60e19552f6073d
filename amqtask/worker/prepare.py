"""Preparing: the app imported, the configuration read, the order and both made into a plan."""

import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from amqtask.app import App
from amqtask.core.address import EMBEDDED_VARIABLE, MEMORY
from amqtask.core.topology import Topology
from amqtask.errors import AmqtaskError, AppImportFailed, ConfigError, HookFailed, Problem, UnknownQueue
from amqtask.executors import check_installed
from amqtask.exits import exit_code
from amqtask.imports import find_app
from amqtask.worker.advice import advise
from amqtask.worker.describe import brief
from amqtask.worker.flow import FlowOptions
from amqtask.worker.options import NodeOptions
from amqtask.worker.plan import Order, Plan
from amqtask.worker.reader import Reader
from amqtask.worker.sample import sample_call

if TYPE_CHECKING:
    from amqtask.config.model import Config

ONE_PROCESS = Problem(
    message="broker.url is a memory:// URL: such a broker lives in one process, and a worker has several",
    hint="use app.worker() in that process, or embedded: as the URL",
)
MULTIPLYING = ("threads", "asyncio", "gevent", "eventlet")
DEFAULT_SLOTS = {"threads": 8, "asyncio": 100, "gevent": 100, "eventlet": 100}


def prepare(order: Order, reader: Reader, embed: Callable[[], str]) -> tuple[App, Plan]:
    """Import the app, have its configuration read, and work out what the node is going to be.

    `embed` gives the URL of an embedded broker.

    Raises:
        AppNotFound, AppImportFailed, ConfigError, UnknownQueue, ExtraMissing: as they say.
    """
    app = find_app(order.app, os.path.abspath(order.working_folder))
    app.configure(order.config, _overrides(order))
    app._read = reader.read
    config = app.config
    if config.broker.embedded and not os.environ.get(EMBEDDED_VARIABLE):
        os.environ[EMBEDDED_VARIABLE] = embed()
    if config.broker.driver == MEMORY:
        raise ConfigError([ONE_PROCESS])
    app.load_tasks(order.include)
    for task in app.tasks.values():
        # Made before processes are forked, which share it then; and what is wrong with an annotation stops the worker.
        _ = task.typed
    plan = make_plan(app, config, order)
    assert reader.reading is not None, "the app has its configuration"
    return app, replace(plan, agent=brief(app, plan.queues, reader.reading).to_json())


def make_plan(app: App, config: "Config", order: Order) -> Plan:
    """The plan of a node of this app."""
    worker = config.worker
    pool = "processes" if worker.pool == "prefork" else worker.pool
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if pool in MULTIPLYING:
        processes = worker.processes or 1
        slots = worker.concurrency or DEFAULT_SLOTS[pool]
    elif pool == "solo":
        processes, slots = 1, 1
    else:
        processes, slots = worker.concurrency or worker.processes or cores, 1
    check_installed("uvloop" if worker.uvloop else pool)
    queues = choose_queues(app.topology, order, worker.queues)
    weights = dict(split_weight(name) for name in order.queues)
    addresses = app.session_options.addresses
    return Plan(
        app_name=app.name,
        node=order.name or f"{app.name}@{socket.gethostname()}",
        pool=pool,
        processes=processes,
        slots=slots,
        queues=queues,
        tasks=tuple(sorted(app.tasks)),
        broker=" ".join(str(address) for address in addresses),
        driver=config.broker.driver,
        sample=sample_call(app.tasks[name] for name in sorted(app.tasks)),
        embedded=os.environ.get(EMBEDDED_VARIABLE) if config.broker.embedded else None,
        prefetch=fixed_prefetch(worker.prefetch, queues),
        weights=tuple(weights.get(name, 1) for name in queues),
        strict=order.strict,
        shutdown_timeout=worker.shutdown_timeout,
        start_timeout=config.broker.start_timeout,
        restart_initial=worker.restart.initial,
        restart_max=worker.restart.max,
        restart_budget=worker.restart.budget,
        restart_window=worker.restart.window,
        log_level=config.log.level,
        log_format=config.log.format,
        max_memory=worker.max_memory_per_child,
        max_tasks=worker.max_tasks_per_child,
        warnings=tuple(advise(app, worker, pool, slots)),
        autoscale=None if worker.autoscale is None else (worker.autoscale.min, worker.autoscale.max),
    )


def node_options(plan: Plan, config: "Config", crashes: Mapping[str, int], era: str = "") -> NodeOptions:
    """What a process of this plan is told.

    `crashes` is how often processes died while they ran these tasks, by id; `era` tells the supervisor that counts.
    """
    worker = config.worker
    return NodeOptions(
        name=plan.node,
        queues=dict(zip(plan.queues, plan.weights, strict=True)),
        strict=plan.strict,
        flow=FlowOptions(fixed=plan.prefetch, hand_back_after=worker.hand_back_after),
        first_window=max(1, round(worker.prefetch_multiplier)),
        consumer_timeout=worker.consumer_timeout,
        max_crashes=worker.max_crashes,
        max_tasks=plan.max_tasks,
        max_memory=plan.max_memory,
        ack_batch=worker.ack_batch,
        ack_delay=worker.ack_delay,
        crashes=crashes,
        era=f"{plan.node}/{era}" if era else plan.node,
    )


def choose_queues(topology: Topology, order: Order, configured: tuple[str, ...]) -> tuple[str, ...]:
    """The queues to consume: those of -Q, else of the configuration, else all work queues; without the excluded ones.

    Raises:
        UnknownQueue: the configuration declares no such queue; the message lists those that it does.
        ConfigError: there is nothing to consume.
    """
    wanted = tuple(split_weight(name)[0] for name in order.queues) or configured or topology.work_queues()
    if not order.create_missing_queues:
        for name in wanted:
            if name not in topology.queues:
                known = ", ".join(topology.queues) or "none"
                raise UnknownQueue(
                    f"no queue {name!r} is declared; the configuration has: {known}"
                    " (declare it under `queues:`, or give --create-missing-queues)"
                )
    chosen = tuple(name for name in dict.fromkeys(wanted) if name not in order.exclude)
    if not chosen:
        raise ConfigError(
            [Problem(message="there is no queue to consume", hint="declare one under `queues:`, or give -Q")]
        )
    return chosen


def split_weight(text: str) -> tuple[str, int]:
    """`hi:3` as a queue's name and its weight; a name without one weighs 1."""
    name, colon, weight = text.rpartition(":")
    return (name, int(weight)) if colon and weight.isdigit() and int(weight) > 0 else (text, 1)


def fixed_prefetch(setting: str | int | Mapping[str, str | int], queues: Sequence[str]) -> dict[str, int]:
    """The prefetch of each queue for which the configuration gives a number."""
    by_queue = setting if isinstance(setting, Mapping) else dict.fromkeys(queues, setting)
    return {name: value for name, value in by_queue.items() if isinstance(value, int)}


def _overrides(order: Order) -> list[str]:
    """Options of the command line as settings, so that they are checked like these."""
    given: list[tuple[str, Any]] = [
        ("worker.pool", order.pool),
        ("worker.concurrency", order.concurrency),
        ("worker.processes", order.processes),
        ("worker.prefetch", order.prefetch),
        ("worker.max_tasks_per_child", order.max_tasks_per_child),
        ("worker.time_limit", order.time_limit),
        ("worker.soft_time_limit", order.soft_time_limit),
        ("events.enabled", order.events),
        ("log.level", order.log_level),
        ("log.format", order.log_format),
    ]
    return [f"{name}={value}" for name, value in given if value is not None] + list(order.overrides)


def explain(error: AmqtaskError) -> tuple[str, int]:
    """The text and the exit code with which a worker that cannot start ends."""
    text = str(error)
    if isinstance(error, (AppImportFailed, HookFailed)) and error.__cause__ is not None:
        text += "\n" + "".join(traceback.format_exception(error.__cause__)).rstrip()
    return text, exit_code(error)
