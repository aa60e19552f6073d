"""The body of a task message: `[args, kwargs, embed]` in protocol 2."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from amqtask.core.compress import decompress
from amqtask.core.glimpse import glimpse
from amqtask.core.headers import text
from amqtask.core.message import Envelope
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.errors import MalformedMessage

DEFAULT_ACCEPT = ("json",)
DEFAULT_MAX_DECOMPRESSED_SIZE = 64 * 2**20
"""Bytes."""

JsonObject = Mapping[str, object]


@dataclass(slots=True)
class TaskBody:
    """What a task is called with, and what follows it: signatures in their JSON form.

    `chain` is in reverse order, as on the wire: its last item is the next step.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]
    callbacks: tuple[JsonObject, ...] = ()
    errbacks: tuple[JsonObject, ...] = ()
    chain: tuple[JsonObject, ...] = ()
    chord: JsonObject | None = None


def decode_body(
    envelope: Envelope,
    *,
    accept: Collection[str] = DEFAULT_ACCEPT,
    max_decompressed_size: int = DEFAULT_MAX_DECOMPRESSED_SIZE,
    serializers: Serializers = DEFAULT_SERIALIZERS,
) -> object:
    """The value of any body, decompressed first where the header `compression` says so.

    Raises:
        ContentRefused: content type, encoding or compression are not accepted; nothing has been decoded.
        Undecodable: the body is not what they say, or too large when decompressed.
        MalformedMessage: the header `compression` is not a text.
    """
    body = envelope.body
    compression = text(envelope.headers.get, "compression")
    if compression:
        serializers.accepted(envelope.content_type, envelope.content_encoding, accept)
        body = decompress(body, compression, max_decompressed_size)
    return serializers.decode(body, envelope.content_type, envelope.content_encoding, accept)


def task_body(value: object) -> TaskBody:
    """A decoded body of protocol 2, its shape checked.

    A body of the hybrid form, protocol 1's dict under protocol 2's headers, is read as well.

    Raises:
        MalformedMessage: says what was found where.
    """
    if isinstance(value, list | tuple) and len(value) == 3:
        args, kwargs, embed = value
    elif isinstance(value, dict) and "args" in value:
        args, kwargs, embed = value["args"], value.get("kwargs"), value
    else:
        raise MalformedMessage(f"the body is {glimpse(value)}, expected [args, kwargs, embed]")
    body = TaskBody(_args(args), _kwargs(kwargs))
    if embed is None:
        return body
    if not isinstance(embed, dict):
        raise MalformedMessage(f"the third item of the body is {glimpse(embed)}, expected an object")
    # Most messages embed nothing: four look-ups and no calls.
    if embed.get("callbacks"):
        body.callbacks = _signatures("callbacks", embed["callbacks"])
    if embed.get("errbacks"):
        body.errbacks = _signatures("errbacks", embed["errbacks"])
    if embed.get("chain"):
        body.chain = _signatures("chain", embed["chain"])
    if embed.get("chord"):
        body.chord = _signature("chord", embed["chord"])
    return body


def _args(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise MalformedMessage(f"args of the body hold {glimpse(value)}, expected a list")
    return tuple(value)


def _kwargs(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        if value is None:
            return {}
        raise MalformedMessage(f"kwargs of the body hold {glimpse(value)}, expected an object")
    for key in value:
        if not isinstance(key, str):
            raise MalformedMessage(f"kwargs of the body have the key {glimpse(key)}, expected names")
    return value


def _signatures(name: str, value: object) -> tuple[JsonObject, ...]:
    if isinstance(value, dict):
        return (_signature(name, value),)
    if not isinstance(value, list | tuple):
        raise MalformedMessage(f"{name} of the body hold {glimpse(value)}, expected a list of signatures")
    return tuple(_signature(name, item) for item in value)


def _signature(name: str, value: object) -> JsonObject:
    if not isinstance(value, dict) or not isinstance(value.get("task"), str):
        raise MalformedMessage(f"{name} of the body hold {glimpse(value)}, expected a signature")
    return value
