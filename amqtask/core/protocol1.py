"""Celery's message protocol 1, rewritten as protocol 2 on arrival, so that nothing behind has to know of it.

In protocol 1 (Celery 3 and earlier, `task_protocol = 1` later) the body is one object that holds the task's name and
everything else; there are no headers but `compression`.
"""

from dataclasses import replace

from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.serialize import Serializers
from amqtask.errors import MalformedMessage, Undecodable, Unserializable


def is_protocol_1(envelope: Envelope) -> bool:
    """It is the header `task` that makes a message one of protocol 2."""
    return "task" not in envelope.headers


def to_protocol_2(delivery: Delivery, body: object, serializers: Serializers) -> Delivery:
    """The same delivery with protocol 2's headers, and its body written anew, uncompressed.

    Raises:
        MalformedMessage: the decoded body is not one of protocol 1.
        Undecodable: it cannot be written again.
    """
    if not isinstance(body, dict) or not isinstance(body.get("task"), str):
        raise MalformedMessage("header 'task' is missing, and the body names no task as in protocol 1 either")
    envelope = delivery.envelope
    headers: dict[str, HeaderValue] = {
        "lang": "py",
        "task": body["task"],
        "id": body.get("id"),
        "eta": body.get("eta"),
        "expires": body.get("expires"),
        "group": body.get("taskset") or body.get("group"),
        "group_index": body.get("group_index"),
        "retries": body.get("retries"),
        "timelimit": body.get("timelimit"),
        **{name: value for name, value in envelope.headers.items() if name != "compression"},
    }
    embed = {
        "callbacks": body.get("callbacks"),
        "errbacks": body.get("errbacks"),
        "chain": None,
        "chord": body.get("chord"),
    }
    serializer = serializers.accepted(envelope.content_type, envelope.content_encoding, (envelope.content_type or "",))
    try:
        encoded = serializers.encode((body.get("args", ()), body.get("kwargs", {}), embed), serializer.name)
    except Unserializable as error:
        raise Undecodable(f"the body of protocol 1 cannot be written as protocol 2: {error}") from error
    return replace(delivery, envelope=replace(envelope, headers=headers, body=encoded.body))
