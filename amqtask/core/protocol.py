"""Task messages on the wire: Celery's message protocol 2 (`celery/app/amqp.py`, `docs/internals/protocol.rst`).

A call is published by `to_envelope`; a worker reads the headers at once (`read_request`) and the body when it runs the
task (`read_body`); `republish_envelope` sends the same message again, for a retry or a delay.
"""

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from amqtask.core import headers as header
from amqtask.core.body import (
    DEFAULT_ACCEPT,
    DEFAULT_MAX_DECOMPRESSED_SIZE,
    TaskBody,
    decode_body,
    task_body,
)
from amqtask.core.compress import compress
from amqtask.core.message import (
    PERSISTENT,
    TRANSIENT,
    Delivery,
    Envelope,
    Headers,
    HeaderValue,
    TaskMessage,
)
from amqtask.core.protocol1 import is_protocol_1, to_protocol_2
from amqtask.core.request import Request
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.errors import MalformedMessage

MAX_REPR = 1024
"""Characters of `argsrepr` and of `kwargsrepr`."""

_LONGEST_EXPIRATION = 315_360_000_000
"""Milliseconds: ten years. RabbitMQ closes the channel (406) for a longer one, seen with 3.10.8."""

_NO_HEADERS: Headers = {}


def to_envelope(
    message: TaskMessage,
    *,
    serializer: str = "json",
    compression: str | None = None,
    priority: int | None = None,
    persistent: bool = True,
    now: float,
    serializers: Serializers = DEFAULT_SERIALIZERS,
) -> Envelope:
    """The message in AMQP's terms. `now` is seconds since the epoch.

    The broker is told to drop what expires in a queue, except where the message has an `eta`: it then travels through
    delay queues, and would leave one too early instead. The worker looks at the header `expires` in any case.

    Raises:
        Unserializable: says which argument it is that has no form in the serializer.
        ConfigError: there is no such serializer or compression.
    """
    embed = {
        "callbacks": list(message.callbacks) or None,
        "errbacks": list(message.errbacks) or None,
        "chain": list(message.chain) or None,
        "chord": message.chord,
    }
    kwargs = message.kwargs if type(message.kwargs) is dict else dict(message.kwargs)
    encoded = serializers.encode((message.args, kwargs, embed), serializer, ("args", "kwargs", "embed"))
    body = encoded.body
    stamps = message.stamps
    headers: dict[str, HeaderValue] = {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "shadow": message.shadow,
        "eta": None if message.eta is None else message.eta.isoformat(),
        "expires": None if message.expires is None else message.expires.isoformat(),
        "group": message.group_id,
        "group_index": message.group_index,
        "retries": message.retries,
        "timelimit": [message.time_limit, message.soft_time_limit],
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "argsrepr": _short_repr(message.args, len(body)) if message.argsrepr is None else message.argsrepr,
        "kwargsrepr": _short_repr(kwargs, len(body)) if message.kwargsrepr is None else message.kwargsrepr,
        "origin": message.origin,
        "ignore_result": message.ignore_result,
        "replaced_task_nesting": message.replaced_task_nesting,
        "stamped_headers": list(stamps) if stamps else None,
        "stamps": dict(stamps),
    }
    if message.headers:
        headers.update(message.headers)
    if compression is not None:
        body, headers["compression"] = compress(body, compression)
    return Envelope(
        body=body,
        headers=headers,
        content_type=encoded.content_type,
        content_encoding=encoded.content_encoding,
        delivery_mode=PERSISTENT if persistent else TRANSIENT,
        priority=priority or 0,
        correlation_id=message.id,
        reply_to=message.reply_to,
        expiration=None if message.expires is None else _expiration(message.expires, message.eta, now),
    )


def _expiration(expires: datetime, eta: datetime | None, now: float) -> str | None:
    """The basic property: milliseconds as a decimal text."""
    if eta is not None:
        return None
    milliseconds = max(0, int((expires.timestamp() - now) * 1000))
    return str(milliseconds) if milliseconds <= _LONGEST_EXPIRATION else None


def _short_repr(value: object, encoded_size: int) -> str:
    # The length of the encoded arguments tells whether repr() of them is cheap; reprlib looks at a few items only, but
    # takes 30 µs where repr() takes 1.
    try:
        text = repr(value) if encoded_size < 4 * MAX_REPR else _BOUNDED.repr(value)
    except Exception as error:  # noqa: BLE001 - somebody's __repr__ must not keep a task from being sent
        text = f"<unrepresentable: {type(error).__name__}>"
    return text if len(text) <= MAX_REPR else text[: MAX_REPR - 3] + "..."


def _bounded_repr() -> reprlib.Repr:
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxtuple = short.maxlist = short.maxdict = short.maxset = short.maxfrozenset = 32
    short.maxstring = short.maxother = 256
    return short


_BOUNDED = _bounded_repr()


def read_request(
    delivery: Delivery,
    *,
    accept: Collection[str] = DEFAULT_ACCEPT,
    max_decompressed_size: int = DEFAULT_MAX_DECOMPRESSED_SIZE,
    serializers: Serializers = DEFAULT_SERIALIZERS,
) -> Request:
    """What the headers and properties say. Runs in the consumer's thread for each delivery: about 4 µs.

    The body is looked at only in a message of protocol 1, which has everything there, even the name of the task; such
    a request holds a delivery rewritten in protocol 2.

    Raises:
        MalformedMessage: names the header and what was found in it.
        ContentRefused, Undecodable: the body of a message of protocol 1 cannot be read.
    """
    if is_protocol_1(delivery.envelope):
        value = decode_body(
            delivery.envelope, accept=accept, max_decompressed_size=max_decompressed_size, serializers=serializers
        )
        request = read_request(to_protocol_2(delivery, value, serializers))
        request.protocol = 1
        return request
    envelope = delivery.envelope
    headers = envelope.headers
    get = headers.get
    text, integer = header.text, header.integer
    task = text(get, "task")
    id = text(get, "id") or envelope.correlation_id  # noqa: A001 - the header's name
    if not task or not id:
        raise MalformedMessage(f"header {'id' if task else 'task'!r} is missing or empty")
    time_limit, soft_time_limit = header.limits(get, "timelimit")
    delivery_count, acquired_count = integer(get, "x-delivery-count"), integer(get, "x-acquired-count")
    if delivery_count is None and acquired_count is not None:
        delivery_count = 0  # 4.3 sends the one without the other after a hand-back: no run has failed
    return Request(
        delivery=delivery,
        id=id,
        task=task,
        root_id=text(get, "root_id") or id,
        parent_id=text(get, "parent_id"),
        group_id=text(get, "group"),
        group_index=integer(get, "group_index"),
        retries=integer(get, "retries") or 0,
        eta=header.moment(get, "eta"),
        expires=header.moment(get, "expires"),
        time_limit=time_limit,
        soft_time_limit=soft_time_limit,
        ignore_result=header.flag(get, "ignore_result"),
        reply_to=envelope.reply_to or None,
        correlation_id=envelope.correlation_id,
        origin=text(get, "origin"),
        shadow=text(get, "shadow"),
        argsrepr=text(get, "argsrepr"),
        kwargsrepr=text(get, "kwargsrepr"),
        replaced_task_nesting=integer(get, "replaced_task_nesting") or 0,
        stamped_headers=header.names(get, "stamped_headers"),
        stamps=header.table(get, "stamps"),
        headers=_NO_HEADERS if headers.keys() <= header.KNOWN_HEADERS else _own(headers),
        priority=envelope.priority,
        compression=text(get, "compression"),
        crashes=integer(get, header.CRASHES) or 0,
        delivery_count=delivery_count,
        acquired_count=acquired_count,
    )


def _own(headers: Headers) -> Headers:
    return {name: value for name, value in headers.items() if name not in header.KNOWN_HEADERS}


def read_body(
    request: Request,
    *,
    accept: Collection[str] = DEFAULT_ACCEPT,
    max_decompressed_size: int = DEFAULT_MAX_DECOMPRESSED_SIZE,
    serializers: Serializers = DEFAULT_SERIALIZERS,
) -> TaskBody:
    """The arguments and what follows the task. `accept` holds names of serializers or content types.

    Raises:
        ContentRefused: content type, encoding or compression are not accepted; nothing has been decoded.
        Undecodable: the body is damaged, or larger than `max_decompressed_size` bytes when decompressed.
        MalformedMessage: it is not the body of a task.
    """
    return task_body(
        decode_body(
            request.delivery.envelope,
            accept=accept,
            max_decompressed_size=max_decompressed_size,
            serializers=serializers,
        )
    )


def republish_envelope(
    request: Request,
    *,
    eta: datetime | None,
    now: float,
    retries: int | None = None,
    crashes: int | None = None,
    extra_headers: Mapping[str, HeaderValue] = _NO_HEADERS,
) -> Envelope:
    """The same message again: same id, same bytes in the body. None leaves `retries` and `crashes` as they are.

    What the broker wrote into it is taken out, and so is `user_id`: the broker refuses that of another user.
    `now` is seconds since the epoch.
    """
    envelope = request.delivery.envelope
    headers = {name: value for name, value in envelope.headers.items() if name not in header.BROKER_HEADERS}
    headers["eta"] = None if eta is None else eta.isoformat()
    if retries is not None:
        headers["retries"] = retries
    if crashes is not None:
        headers[header.CRASHES] = crashes
    headers.update(extra_headers)
    expiration = envelope.expiration if eta is None else None
    if request.expires is not None:
        expiration = _expiration(request.expires, eta, now)
    return replace(envelope, headers=headers, expiration=expiration, user_id=None)


def to_message(request: Request, body: TaskBody) -> TaskMessage:
    """The call that the request came from, to be sent again with other arguments or options."""
    return TaskMessage(
        id=request.id,
        task=request.task,
        args=body.args,
        kwargs=body.kwargs,
        root_id=request.root_id,
        parent_id=request.parent_id,
        group_id=request.group_id,
        group_index=request.group_index,
        retries=request.retries,
        eta=request.eta,
        expires=request.expires,
        time_limit=request.time_limit,
        soft_time_limit=request.soft_time_limit,
        ignore_result=bool(request.ignore_result),
        reply_to=request.reply_to,
        shadow=request.shadow,
        origin=request.origin,
        replaced_task_nesting=request.replaced_task_nesting,
        stamps=request.stamps,
        callbacks=body.callbacks,
        errbacks=body.errbacks,
        chain=body.chain,
        chord=body.chord,
        headers=request.headers,
    )
