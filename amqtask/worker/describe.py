"""Describing an app for its node's agent: the one place where the configuration becomes a briefing."""

import json
from collections.abc import Mapping, Sequence

from amqtask.app import App
from amqtask.config.loaded import Reading
from amqtask.core.backoff import Backoff
from amqtask.core.message import Json
from amqtask.worker.briefing import Briefing
from amqtask.worker.queueform import queue_form


def brief(app: App, queues: Sequence[str], reading: Reading) -> Briefing:
    """What the agent of a node that consumes these queues must know; `reading` is of the app's configuration."""
    config = app.config
    broker, control, events = config.broker, config.control, config.events
    conf: dict[str, Json] = {}
    given: dict[str, Json] = {}
    for setting in reading.settings:
        value = json.loads(json.dumps(setting.value, default=str))
        conf[setting.name] = value
        if setting.origin.source != "default":
            given[setting.name] = value
    report = [*reading.about, "settings:", *(f"  {name}: {value}" for name, value in given.items())]
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
        version=reading.version,
        report="\n".join(report),
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
