"""The content header of AMQP's basic class: an Envelope's properties as octets, both ways (AMQP 0-9-1 §4.2.6)."""

import struct
from typing import TypeAlias

from amqtask.core.fieldtable import decode_short, decode_table, encode_name, encode_short, encode_table, table_texts
from amqtask.core.message import TRANSIENT, Envelope, Headers
from amqtask.errors import MalformedMessage, Unserializable

Span: TypeAlias = "tuple[str | None, int, int]"
"""Where a text of a content header lies: its name, None for the correlation id; its first octet and the one behind."""

BODY_SIZE = (4, 12)
"""Where the size of the body stands."""

_START = struct.Struct(">HHQH")
_FLAGS = struct.Struct(">H")
_U64 = struct.Struct(">Q")
_BASIC = 60

_CONTENT_TYPE = 1 << 15
_CONTENT_ENCODING = 1 << 14
_HEADERS = 1 << 13
_DELIVERY_MODE = 1 << 12
_PRIORITY = 1 << 11
_CORRELATION_ID = 1 << 10
_REPLY_TO = 1 << 9
_EXPIRATION = 1 << 8
_MESSAGE_ID = 1 << 7
_TIMESTAMP = 1 << 6
_TYPE = 1 << 5
_USER_ID = 1 << 4
_APP_ID = 1 << 3
_AFTER_MESSAGE_ID = _TIMESTAMP | _TYPE | _USER_ID | _APP_ID


def encode_header(envelope: Envelope) -> bytes:
    """The payload of the content header frame.

    Raises:
        Unserializable: a header or property that AMQP cannot hold.
    """
    flags = _DELIVERY_MODE
    parts: list[bytes] = [b""]
    if envelope.content_type is not None:
        flags |= _CONTENT_TYPE
        parts.append(encode_name(envelope.content_type))
    if envelope.content_encoding is not None:
        flags |= _CONTENT_ENCODING
        parts.append(encode_name(envelope.content_encoding))
    if envelope.headers:
        flags |= _HEADERS
        parts.append(encode_table(envelope.headers))
    parts.append(bytes((envelope.delivery_mode,)))
    if envelope.priority is not None:
        if not 0 <= envelope.priority <= 255:
            raise Unserializable(f"the priority {envelope.priority} is not between 0 and 255")
        flags |= _PRIORITY
        parts.append(bytes((envelope.priority,)))
    if envelope.correlation_id is not None:
        flags |= _CORRELATION_ID
        parts.append(encode_short(envelope.correlation_id))
    if envelope.reply_to is not None:
        flags |= _REPLY_TO
        parts.append(encode_name(envelope.reply_to))
    if envelope.expiration is not None:
        flags |= _EXPIRATION
        parts.append(encode_name(envelope.expiration))
    if envelope.message_id is not None:
        flags |= _MESSAGE_ID
        parts.append(encode_short(envelope.message_id))
    if envelope.timestamp is not None:
        if not 0 <= envelope.timestamp < 1 << 64:
            raise Unserializable(f"the timestamp {envelope.timestamp} is not between 0 and 2^64")
        flags |= _TIMESTAMP
        parts.append(_U64.pack(envelope.timestamp))
    if envelope.type is not None:
        flags |= _TYPE
        parts.append(encode_name(envelope.type))
    if envelope.user_id is not None:
        flags |= _USER_ID
        parts.append(encode_name(envelope.user_id))
    if envelope.app_id is not None:
        flags |= _APP_ID
        parts.append(encode_name(envelope.app_id))
    parts[0] = _START.pack(_BASIC, 0, len(envelope.body), flags)
    return b"".join(parts)


def body_size(header: bytes) -> int:
    """How many octets of body follow this content header.

    Raises:
        MalformedMessage: the header is too short to say.
    """
    if len(header) < _START.size:
        raise MalformedMessage("the content header is too short")
    return int(_U64.unpack_from(header, 4)[0])


def text_spans(header: bytes) -> list[Span]:
    """Where the texts lie that differ from message to message: those of the headers' own table, and the correlation id.

    `header` is one that `decode_envelope` took.
    """
    (flags,) = _FLAGS.unpack_from(header, 12)
    at = 14
    for property in (_CONTENT_TYPE, _CONTENT_ENCODING):  # noqa: A001 - AMQP's word
        if flags & property:
            at += 1 + header[at]
    spans: list[Span] = []
    if flags & _HEADERS:
        texts, at = table_texts(header, at)
        spans.extend(texts)
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    if flags & _CORRELATION_ID:
        spans.append((None, at + 1, at + 1 + header[at]))
    return spans


def decode_envelope(header: bytes, body: bytes) -> Envelope:
    """The Envelope of a content header's payload and a body.

    Raises:
        MalformedMessage: the header is not one of the basic class, or ends too early.
    """
    try:
        return _decode_envelope(header, body)
    except (struct.error, IndexError) as error:
        raise MalformedMessage("the content header ends in the middle of a property") from error


def _decode_envelope(header: bytes, body: bytes) -> Envelope:
    (flags,) = _FLAGS.unpack_from(header, 12)
    at = 14
    headers: Headers = {}
    content_type = content_encoding = correlation_id = reply_to = expiration = message_id = None
    priority = None
    mode = TRANSIENT
    if flags & _CONTENT_TYPE:
        content_type, at = decode_short(header, at)
    if flags & _CONTENT_ENCODING:
        content_encoding, at = decode_short(header, at)
    if flags & _HEADERS:
        headers, at = decode_table(header, at)
    if flags & _DELIVERY_MODE:
        mode = header[at]
        at += 1
    if flags & _PRIORITY:
        priority = header[at]
        at += 1
    if flags & _CORRELATION_ID:
        correlation_id, at = decode_short(header, at)
    if flags & _REPLY_TO:
        reply_to, at = decode_short(header, at)
    if flags & _EXPIRATION:
        expiration, at = decode_short(header, at)
    if flags & _MESSAGE_ID:
        message_id, at = decode_short(header, at)
    timestamp = kind = user_id = app_id = None
    # Task messages have none of these four as a rule.
    if flags & _AFTER_MESSAGE_ID:
        if flags & _TIMESTAMP:
            (timestamp,) = _U64.unpack_from(header, at)
            at += 8
        if flags & _TYPE:
            kind, at = decode_short(header, at)
        if flags & _USER_ID:
            user_id, at = decode_short(header, at)
        if flags & _APP_ID:
            app_id, at = decode_short(header, at)
    if at > len(header):
        raise MalformedMessage("a property is longer than the content header")
    return Envelope(
        body=body,
        headers=headers,
        content_type=content_type,
        content_encoding=content_encoding,
        delivery_mode=mode,
        priority=priority,
        correlation_id=correlation_id,
        reply_to=reply_to,
        expiration=expiration,
        message_id=message_id,
        timestamp=timestamp,
        type=kind,
        user_id=user_id,
        app_id=app_id,
    )
