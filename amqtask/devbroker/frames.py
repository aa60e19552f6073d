"""Frames and methods of AMQP 0-9-1, strictly.

pamqp's classes say which fields a method has; this module walks them. Unlike pamqp's own reader it refuses a method
that ends too early or too late, and takes every name that RabbitMQ takes. The frames of the hot path (deliver, header,
body, ack) are written with struct in `hotpath`.
"""

import struct
from typing import TypeAlias, TypeVar

from pamqp import base, commands

from amqtask.devbroker import tables
from amqtask.devbroker.errors import command_invalid, frame_error, syntax_error
from amqtask.devbroker.tables import Value

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
END_BYTE = b"\xce"
OVERHEAD = 8
"""Bytes of a frame beside its payload."""
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"

Method: TypeAlias = base.Frame
M = TypeVar("M", bound=Method)

_PREFIX = struct.Struct(">BHI")
_LONG = struct.Struct(">I")
_NUMBERS = {
    name: struct.Struct(code) for name, code in {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}.items()
}


def read(data: bytes, position: int, frame_max: int) -> tuple[int, int, bytes, int] | None:
    """Kind, channel and payload of the frame at `position`, and where the next one begins; None if it is not all there.

    Raises HardError (501).
    """
    if len(data) - position < OVERHEAD - 1:
        return None
    kind, channel, size = _PREFIX.unpack_from(data, position)
    if kind not in (METHOD, HEADER, BODY, HEARTBEAT):
        raise frame_error(f"unknown frame type {kind}")
    if frame_max and size > frame_max - OVERHEAD:
        raise frame_error(f"frame of {size + OVERHEAD} bytes is larger than the negotiated {frame_max}")
    start = position + OVERHEAD - 1
    end = start + size
    if end >= len(data):
        return None
    if data[end] != END:
        raise frame_error(f"frame end is {data[end]:#04x}, not {END:#04x}")
    return kind, channel, data[start:end], end + 1


def write(kind: int, channel: int, payload: bytes) -> bytes:
    return _PREFIX.pack(kind, channel, len(payload)) + payload + END_BYTE


def decode_method(payload: bytes) -> Method:
    """A method frame's payload as one of pamqp's classes. Raises HardError (502, 503)."""
    if len(payload) < 4:
        raise syntax_error("method frame without a method")
    index = _LONG.unpack_from(payload)[0]
    kind = commands.INDEX_MAPPING.get(index)
    if kind is None:
        raise command_invalid(f"unknown method {index >> 16}.{index & 0xFFFF}")
    # Not kind(): pamqp warns of methods that are deprecated, and every field is set below.
    method: Method = object.__new__(kind)
    reader = _Reader(payload, 4)
    for name in method.attributes():
        setattr(method, name, reader.field(method.amqp_type(name)))
    reader.assert_done()
    return method


def made(kind: type[M], **fields: Value) -> M:
    """A method with these fields.

    pamqp's constructors refuse names that RabbitMQ takes (those with a space, for one).
    """
    method: M = object.__new__(kind)
    for name in method.attributes():
        setattr(method, name, fields[name])
    return method


def encode_method(method: Method, channel: int) -> bytes:
    """A whole method frame."""
    parts = [_LONG.pack(method.index)]
    bits: list[bool] = []
    for name in method.attributes():
        kind = method.amqp_type(name)
        if kind == "bit":
            bits.append(bool(getattr(method, name)))
            continue
        parts += _octets(bits)
        bits = []
        parts.append(_field(kind, getattr(method, name)))
    return write(METHOD, channel, b"".join(parts + _octets(bits)))


def _octets(bits: list[bool]) -> list[bytes]:
    return [bytes((sum(bit << i for i, bit in enumerate(bits[n : n + 8])),)) for n in range(0, len(bits), 8)]


def _field(kind: str, value: Value) -> bytes:
    match kind, value:
        case "shortstr", str():
            encoded = tables.wire(value)[:255]
            return bytes((len(encoded),)) + encoded
        case "longstr", str():
            encoded = tables.wire(value)
            return _LONG.pack(len(encoded)) + encoded
        case "table", dict():
            encoded = tables.encode(value)
            return _LONG.pack(len(encoded)) + encoded
        case _, int():
            return _NUMBERS[kind].pack(value)
    raise TypeError(f"{kind} cannot be {value!r}")


class _Reader:
    """Fields out of a payload, each to its last byte."""

    def __init__(self, payload: bytes, position: int) -> None:
        self._payload = payload
        self._position = position
        self._bits_left = 0
        self._octet = 0

    def field(self, kind: str) -> Value:
        if kind == "bit":
            return self._bit()
        self._bits_left = 0
        if kind == "shortstr":
            return tables.text(self._bytes(self._number("octet")))
        if kind == "longstr":
            return tables.text(self._bytes(self._number("long")))
        if kind == "table":
            return tables.decode(self._bytes(self._number("long")))
        return self._number(kind)

    def assert_done(self) -> None:
        if self._position != len(self._payload):
            raise syntax_error("method frame is longer than its method")

    def _bit(self) -> bool:
        if not self._bits_left:
            self._octet, self._bits_left = self._number("octet"), 8
        self._bits_left -= 1
        bit = bool(self._octet & 1)
        self._octet >>= 1
        return bit

    def _number(self, kind: str) -> int:
        packing = _NUMBERS[kind]
        if self._position + packing.size > len(self._payload):
            raise syntax_error("method frame ends too early")
        number: int = packing.unpack_from(self._payload, self._position)[0]
        self._position += packing.size
        return number

    def _bytes(self, size: int) -> bytes:
        end = self._position + size
        if end > len(self._payload):
            raise syntax_error("method frame ends too early")
        value = self._payload[self._position : end]
        self._position = end
        return value
