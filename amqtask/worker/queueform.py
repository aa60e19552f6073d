"""The form in which nodes show the queues that they consume: Celery's, with all of its keys."""

import json
from typing import Any

from amqtask.core.message import Json
from amqtask.core.topology import Queue, Topology


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
