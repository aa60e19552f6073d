"""Describing an app for its node's agent: the one place where the configuration becomes a briefing."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

from amqtask.app import App
from amqtask.config.render import settings
from amqtask.core.backoff import Backoff
from amqtask.core.message import Json
from amqtask.core.topology import Queue, Topology
from amqtask.worker.briefing import Briefing


def brief(app: App, queues: tuple[str, ...]) -> Briefing:
    """What the agent of a node that consumes these queues must know."""
    config = app.config
    broker, control, events = config.broker, config.control, config.events
    conf: dict[str, Json] = {}
    given: dict[str, Json] = {}
    for setting in settings(app.loaded_config):
        value = json.loads(json.dumps(setting.value, default=str))
        conf[setting.name] = value
        if setting.origin.source != "default":
            given[setting.name] = value
    version = importlib.metadata.version("amqtask")
    return Briefing(
        addresses=tuple(app.session_options.addresses),
        driver=broker.driver,
        shuffle=broker.failover == "shuffle",
        connect_timeout=broker.connect_timeout,
        backoff=Backoff(initial=broker.reconnect.initial, maximum=broker.reconnect.max, jitter=broker.reconnect.jitter),
        control=control.enabled,
        control_exchange=control.exchange,
        reply_timeout=control.reply_timeout,
        secret=control.secret,
        events=events.enabled,
        events_exchange=events.exchange,
        heartbeat=events.heartbeat,
        create_queues=config.interop == "celery" or config.worker.create_missing_queues,
        version=version,
        report=_report(version, given),
        conf=conf,
        conf_given=given,
        tasks={name: _task(app, name) for name in sorted(app.tasks)},
        queues={name: queue_form(app.topology, name) for name in queues},
        commands=tuple(app.commands.to_json()),
    )


def _task(app: App, name: str) -> Mapping[str, Json]:
    effective = app.parts.sender.effective(app.tasks[name].options)
    return {
        "rate_limit": effective.rate_limit,
        "rate_limit_scope": effective.rate_limit_scope,
        "acks_late": effective.acks_late,
        "time_limit": effective.time_limit,
        "soft_time_limit": effective.soft_time_limit,
        "ignore_result": effective.ignore_result,
        "serializer": effective.serializer,
        "max_retries": effective.retry.max_retries,
    }


def _report(version: str, given: Mapping[str, Json]) -> str:
    packages = []
    for name in ("pika", "amqp", "pydantic", "msgpack", "celery"):
        try:
            packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    lines = [
        f"amqtask {version}, {platform.python_implementation()} {platform.python_version()}, {platform.platform()}",
        f"packages: {', '.join(packages)}",
        "settings:",
    ]
    return "\n".join([*lines, *(f"  {name}: {value}" for name, value in given.items())])


def queue_form(topology: Topology, name: str) -> dict[str, Json]:
    """A queue as Celery's `active_queues` shows it."""
    queue = topology.queues.get(name) or Queue(name=name)
    binding = next((b for b in topology.bindings if b.target == name and not b.to_exchange), None)
    exchange = topology.exchanges.get(binding.source) if binding is not None else None
    arguments: dict[str, Any] = {"x-queue-type": queue.type, **queue.arguments}
    return {
        "name": name,
        "exchange": {
            "name": exchange.name if exchange is not None else "",
            "type": exchange.type if exchange is not None else "direct",
            "arguments": None,
            "durable": exchange.durable if exchange is not None else True,
            "passive": False,
            "auto_delete": exchange.auto_delete if exchange is not None else False,
            "delivery_mode": None,
            "no_declare": False,
        },
        "routing_key": binding.key if binding is not None else name,
        "queue_arguments": json.loads(json.dumps(arguments, default=str)),
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": queue.durable,
        "exclusive": queue.exclusive,
        "auto_delete": queue.auto_delete,
        "no_ack": False,
        "alias": None,
        "bindings": [],
        "no_declare": None,
        "expires": None,
        "message_ttl": None,
        "max_length": None,
        "max_length_bytes": None,
        "max_priority": arguments.get("x-max-priority"),
    }
