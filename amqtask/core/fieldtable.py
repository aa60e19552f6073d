"""AMQP field tables: headers and arguments on the wire, both ways, for every type that a header can have.

The type letters are RabbitMQ's (its "AMQP 0-9-1 errata", section 3), which differ from the specification's. Both AMQP
libraries have codecs of their own, and neither keeps all types: pika 1.4 cannot write a float and truncates one that
it reads, py-amqp 5 gives naive datetimes. So the adapters use this one.
"""

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from amqtask.core.message import HeaderValue
from amqtask.errors import MalformedMessage, Unserializable

MAX_DEPTH = 64
"""How deep tables and arrays may nest; deeper ones would exhaust Python's stack."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OCTET = [bytes((number,)) for number in range(256)]
_U32 = struct.Struct(">I")
_TAGGED_U32 = struct.Struct(">cI")
_TAGGED_I32 = struct.Struct(">ci")
_TAGGED_I64 = struct.Struct(">cq")
_TAGGED_DOUBLE = struct.Struct(">cd")
_TAGGED_DECIMAL = struct.Struct(">cBi")
_DECIMAL = struct.Struct(">Bi")


def encode_table(table: Mapping[str, HeaderValue]) -> bytes:
    """The table with its length in front.

    Raises:
        Unserializable: a key or value that a field table cannot hold; the message names the key.
    """
    parts: list[bytes] = []
    add = parts.append
    for key, value in table.items():
        try:
            add(encode_name(key))
            # Most headers of a task message are strings and nulls: they are written in place.
            if value is None:
                add(b"V")
            elif type(value) is str:
                content = _octets(value)
                add(_TAGGED_U32.pack(b"S", len(content)))
                add(content)
            else:
                _encode_value(parts, value, 0)
        except (Unserializable, struct.error, OverflowError) as error:
            raise Unserializable(f"the header or argument {key!r} cannot be sent: {error}") from error
    content = b"".join(parts)
    return _U32.pack(len(content)) + content


def encode_short(text: str) -> bytes:
    """A short string: one octet of length, then UTF-8.

    Raises:
        Unserializable: it is longer than 255 octets.
    """
    content = _octets(text)
    if len(content) > 255:
        raise Unserializable(f"{text[:32]!r}… has {len(content)} octets; AMQP's short strings hold 255")
    return _OCTET[len(content)] + content


@functools.lru_cache(1024)
def encode_name(text: str) -> bytes:
    """`encode_short` for what comes again and again: header keys, content types."""
    return encode_short(text)


def decode_table(data: bytes, offset: int) -> tuple[dict[str, HeaderValue], int]:
    """The table that starts at `offset` with its length, and the offset behind it.

    Raises:
        MalformedMessage: the bytes are not a field table.
    """
    try:
        return _decode_table(data, offset, 0)
    except (struct.error, IndexError) as error:
        raise MalformedMessage("the field table ends in the middle of a value") from error


def table_texts(data: bytes, offset: int) -> tuple[list[tuple[str, int, int]], int]:
    """Where the texts of a table lie that was decoded before: name, first octet, the one behind; and the table's end.

    Texts in nested tables and arrays are left out.
    """
    end = offset + 4 + _U32.unpack_from(data, offset)[0]
    offset += 4
    spans: list[tuple[str, int, int]] = []
    while offset < end:
        name, at = decode_short(data, offset)
        value, offset = _decode_value(data, at, 0)
        if type(value) is str:
            spans.append((name, at + 5, offset))
    return spans, end


def decode_short(data: bytes, offset: int) -> tuple[str, int]:
    """The short string at `offset`, and the offset behind it. Octets that are not UTF-8 become lone surrogates."""
    start = offset + 1
    end = start + data[offset]
    try:
        return data[start:end].decode(), end
    except UnicodeDecodeError:
        return data[start:end].decode("utf-8", "surrogateescape"), end


def _octets(text: str) -> bytes:
    # Encoding with an error handler takes twice as long, and is needed for what `decode_short` could not decode.
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _encode_value(parts: list[bytes], value: object, depth: int) -> None:
    if isinstance(value, str):
        content = _octets(value)
        parts += (_TAGGED_U32.pack(b"S", len(content)), content)
    elif value is None:
        parts.append(b"V")
    elif value is True:
        parts.append(b"t\x01")
    elif value is False:
        parts.append(b"t\x00")
    elif isinstance(value, int):
        parts.append(_encode_int(value))
    elif isinstance(value, (dict, list, tuple)):
        parts.append(_encode_nested(value, depth + 1))
    elif isinstance(value, float):
        parts.append(_TAGGED_DOUBLE.pack(b"d", value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        parts += (_TAGGED_U32.pack(b"x", len(value)), bytes(value))
    elif isinstance(value, datetime):
        parts.append(_encode_timestamp(value))
    elif isinstance(value, Decimal):
        parts.append(_encode_decimal(value))
    elif isinstance(value, (Mapping, Sequence)):
        parts.append(_encode_nested(value, depth + 1))
    else:
        raise Unserializable(f"a field table has no type for {type(value).__name__}")


def _encode_nested(value: Mapping[object, object] | Sequence[object], depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise Unserializable(f"it nests deeper than {MAX_DEPTH} levels")
    inner: list[bytes] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Unserializable(f"the key {key!r} is no string")
            inner.append(encode_short(key))
            _encode_value(inner, item, depth)
    else:
        for item in value:
            _encode_value(inner, item, depth)
    content = b"".join(inner)
    return _TAGGED_U32.pack(b"F" if isinstance(value, Mapping) else b"A", len(content)) + content


def _encode_int(value: int) -> bytes:
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return _TAGGED_I32.pack(b"I", value)
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return _TAGGED_I64.pack(b"l", value)
    raise Unserializable("the integer needs more than 64 bits")


def _encode_timestamp(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise Unserializable("a naive datetime names no instant; give it a time zone")
    return _TAGGED_I64.pack(b"T", (value - _EPOCH) // timedelta(seconds=1))


def _encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise Unserializable(f"{value} is no finite decimal")
    unscaled = int("".join(map(str, digits)))
    scale = max(-exponent, 0)
    unscaled *= 10 ** max(exponent, 0) if exponent < 10 else 10**10
    if unscaled > 0x7FFFFFFF or scale > 255:
        raise Unserializable(f"{value} has more digits than AMQP's decimals, which are 32 bits and a scale")
    return _TAGGED_DECIMAL.pack(b"D", scale, -unscaled if sign else unscaled)


def _decode_table(data: bytes, offset: int, depth: int) -> tuple[dict[str, HeaderValue], int]:
    length = _U32.unpack_from
    end = offset + 4 + length(data, offset)[0]
    offset += 4
    if end > len(data):
        raise MalformedMessage("the field table is longer than its frame")
    if depth > MAX_DEPTH:
        raise MalformedMessage(f"the field table nests deeper than {MAX_DEPTH} levels")
    table: dict[str, HeaderValue] = {}
    while offset < end:
        # Names, strings and nulls are most of a task message's headers. They are read in place: a call for each costs
        # 3 of 11 µs.
        start = offset + 1
        offset = start + data[offset]
        try:
            key = data[start:offset].decode()
        except UnicodeDecodeError:
            key = data[start:offset].decode("utf-8", "surrogateescape")
        kind = data[offset]
        if kind == 0x56:
            table[key] = None
            offset += 1
        elif kind == 0x53:
            start = offset + 5
            offset = start + length(data, offset + 1)[0]
            try:
                table[key] = data[start:offset].decode()
            except UnicodeDecodeError:
                table[key] = data[start:offset]
        else:
            table[key], offset = _decode_value(data, offset, depth)
    if offset != end:
        raise MalformedMessage("a value of the field table is longer than the table")
    return table, end


def _decode_value(data: bytes, offset: int, depth: int) -> tuple[HeaderValue, int]:
    kind = data[offset]
    offset += 1
    if scalar := _SCALARS.get(kind):
        layout, convert = scalar
        return convert(*layout.unpack_from(data, offset)), offset + layout.size
    if kind in b"Sx":
        start = offset + 4
        end = start + _U32.unpack_from(data, offset)[0]
        if end > len(data):
            raise MalformedMessage("a string of the field table is longer than its frame")
        return (_text(data[start:end]) if kind == 0x53 else data[start:end]), end
    if kind == 0x46:
        return _decode_table(data, offset, depth + 1)
    if kind == 0x41:
        return _decode_array(data, offset, depth + 1)
    if kind == 0x56:
        return None, offset
    raise MalformedMessage(f"the field table has a value of the unknown type {chr(kind)!r}")


def _decode_array(data: bytes, offset: int, depth: int) -> tuple[list[HeaderValue], int]:
    end = offset + 4 + _U32.unpack_from(data, offset)[0]
    offset += 4
    if end > len(data) or depth > MAX_DEPTH:
        raise MalformedMessage(f"an array is longer than its frame, or nests deeper than {MAX_DEPTH} levels")
    items: list[HeaderValue] = []
    while offset < end:
        item, offset = _decode_value(data, offset, depth)
        items.append(item)
    if offset != end:
        raise MalformedMessage("a value of an array is longer than the array")
    return items, end


def _text(content: bytes) -> str | bytes:
    # Long strings may hold any octets; those that are not UTF-8 stay what they are.
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _instant(seconds: int) -> datetime | int:
    # Some clients send milliseconds, whose instants lie beyond the year 9999: these stay numbers.
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return seconds


def _decimal(scale: int, unscaled: int) -> Decimal:
    return Decimal(unscaled).scaleb(-scale)


def _same(value: HeaderValue) -> HeaderValue:
    return value


_SCALARS: dict[int, tuple[struct.Struct, Callable[..., HeaderValue]]] = {
    ord("t"): (struct.Struct(">?"), _same),
    ord("b"): (struct.Struct(">b"), _same),
    ord("B"): (struct.Struct(">B"), _same),
    ord("s"): (struct.Struct(">h"), _same),
    ord("u"): (struct.Struct(">H"), _same),
    ord("I"): (struct.Struct(">i"), _same),
    ord("i"): (struct.Struct(">I"), _same),
    ord("l"): (struct.Struct(">q"), _same),
    ord("L"): (struct.Struct(">q"), _same),
    ord("f"): (struct.Struct(">f"), _same),
    ord("d"): (struct.Struct(">d"), _same),
    ord("T"): (struct.Struct(">q"), _instant),
    ord("D"): (_DECIMAL, _decimal),
}
