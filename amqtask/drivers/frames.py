"""AMQP 0-9-1 frames of messages and settlements, as octets (§4.2.3, §1.8.3). The methods that wait for an answer are
written and read by the libraries; these here are the hot ones."""

import struct
from typing import Final

from amqtask.core.fieldtable import decode_short, encode_short
from amqtask.core.message import Verdict

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
FRAME_OVERHEAD: Final = 8

HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"

# Class and method number as one integer, as they stand at the beginning of a method frame.
CONNECTION_START: Final = 10 << 16 | 10
CONNECTION_TUNE: Final = 10 << 16 | 30
CONNECTION_CLOSE: Final = 10 << 16 | 50
CONNECTION_CLOSE_OK: Final = 10 << 16 | 51
CONNECTION_BLOCKED: Final = 10 << 16 | 60
CONNECTION_UNBLOCKED: Final = 10 << 16 | 61
CHANNEL_FLOW: Final = 20 << 16 | 20
CHANNEL_FLOW_OK: Final = 20 << 16 | 21
CHANNEL_CLOSE: Final = 20 << 16 | 40
CHANNEL_CLOSE_OK: Final = 20 << 16 | 41
BASIC_CANCEL: Final = 60 << 16 | 30
BASIC_PUBLISH: Final = 60 << 16 | 40
BASIC_RETURN: Final = 60 << 16 | 50
BASIC_DELIVER: Final = 60 << 16 | 60
BASIC_ACK: Final = 60 << 16 | 80
BASIC_REJECT: Final = 60 << 16 | 90
BASIC_NACK: Final = 60 << 16 | 120

frame_start: Final = struct.Struct(">BHI").unpack_from
method_id: Final = struct.Struct(">I").unpack_from
_FRAME = struct.Struct(">BHI")
_METHOD_FRAME = struct.Struct(">BHII")
_TAG = struct.Struct(">QB")
_SHORT = struct.Struct(">H")
_BLAME = struct.Struct(">HH")
_SETTLE = struct.Struct(">BHIIQBB")


def method_frame(number: int, method: int, arguments: bytes = b"") -> bytes:
    """A method on channel `number`; its arguments are encoded already."""
    return _METHOD_FRAME.pack(METHOD, number, 4 + len(arguments), method) + arguments + b"\xce"


def close_frame(number: int, method: int) -> bytes:
    """`connection.close` or `channel.close` without a complaint."""
    return method_frame(number, method, _SHORT.pack(200) + encode_short("closed by the client") + _BLAME.pack(0, 0))


def publish_frame(number: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """`basic.publish`; header and body follow in frames of their own."""
    arguments = b"\0\0" + encode_short(exchange) + encode_short(routing_key) + (b"\1" if mandatory else b"\0")
    return method_frame(number, BASIC_PUBLISH, arguments)


def write_content(out: bytearray, number: int, header: bytes, body: bytes, limit: int) -> None:
    """The frames of a content header and of a body in parts of at most `limit` octets."""
    size = len(body)
    if 0 < size <= limit:
        out += b"%b%b\xce%b%b\xce" % (
            _FRAME.pack(HEADER, number, len(header)),
            header,
            _FRAME.pack(BODY, number, size),
            body,
        )
        return
    out += b"%b%b\xce" % (_FRAME.pack(HEADER, number, len(header)), header)
    for start in range(0, size, limit):
        part = body[start : start + limit]
        out += b"%b%b\xce" % (_FRAME.pack(BODY, number, len(part)), part)


def settle_frame(number: int, tag: int, verdict: Verdict, multiple: bool) -> bytes:
    """`basic.ack`, `basic.reject` or `basic.nack`, as `Verdict` says."""
    if verdict is Verdict.ACK:
        return _SETTLE.pack(METHOD, number, 13, BASIC_ACK, tag, multiple, FRAME_END)
    if verdict is Verdict.HAND_BACK:
        return _SETTLE.pack(METHOD, number, 13, BASIC_NACK, tag, 3 if multiple else 2, FRAME_END)
    if multiple:
        raise ValueError("basic.reject takes one tag: REQUEUE and DEAD_LETTER are never multiple")
    return _SETTLE.pack(METHOD, number, 13, BASIC_REJECT, tag, verdict is Verdict.REQUEUE, FRAME_END)


def read_deliver(data: bytes, at: int) -> tuple[int, str, str, str, bool]:
    """The arguments of `basic.deliver`: delivery tag, consumer tag, exchange, routing key, redelivered."""
    consumer_tag, at = decode_short(data, at)
    tag, redelivered = _TAG.unpack_from(data, at)
    exchange, at = decode_short(data, at + 9)
    routing_key, at = decode_short(data, at)
    return tag, consumer_tag, exchange, routing_key, redelivered == 1


def read_return(data: bytes, at: int) -> tuple[int, str, str, str]:
    """The arguments of `basic.return`: reply code and text, exchange, routing key."""
    (code,) = _SHORT.unpack_from(data, at)
    text, at = decode_short(data, at + 2)
    exchange, at = decode_short(data, at)
    routing_key, at = decode_short(data, at)
    return code, text, exchange, routing_key


def read_confirm(data: bytes, at: int) -> tuple[int, bool]:
    """The arguments of `basic.ack` and `basic.nack`: sequence number, multiple."""
    tag, bits = _TAG.unpack_from(data, at)
    return tag, bits & 1 == 1


def read_close(data: bytes, at: int) -> tuple[int, str, int, int]:
    """The arguments of both closes: reply code and text, and class and method that are blamed (0, 0 for none)."""
    (code,) = _SHORT.unpack_from(data, at)
    text, at = decode_short(data, at + 2)
    class_id, method = _BLAME.unpack_from(data, at)
    return code, text, class_id, method
