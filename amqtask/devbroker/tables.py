"""AMQP field tables, strictly.

pamqp reads a table that ends too early without complaint, gives up on bytes that are no UTF-8 and writes a double as a
float. A broker passes on what it was given, so this module reads every byte or refuses, and lets a table be taken apart
and put together again without looking into the values (`split`, `join`): what a publisher wrote reaches the consumer
bit by bit. The types are those of RabbitMQ's errata to 0-9-1.
"""

import struct
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from amqtask.devbroker.errors import syntax_error

Value: TypeAlias = "bool | int | float | Decimal | str | bytes | list[Value] | dict[str, Value] | None"
Table: TypeAlias = dict[str, Value]

DEPTH_MAX = 64
"""Tables and arrays within each other. RabbitMQ has no limit; Python's recursion has, and nobody needs more."""

_FORMATS = {"t": "?", "b": "b", "B": "B", "s": "h", "u": "H", "I": "i", "i": "I", "l": "q", "L": "Q"} | {
    "f": "f",
    "d": "d",
    "T": "Q",
}
_FIXED = {kind: struct.Struct(">" + code) for kind, code in _FORMATS.items()}
_SIZE = {ord(t): s.size for t, s in _FIXED.items()} | {ord("V"): 0, ord("D"): 5}
_LONG = struct.Struct(">I")
_DECIMAL = struct.Struct(">Bi")
_NESTED = frozenset(b"AF")
_SIZED = frozenset(b"SxAF")


class Timestamp(int):
    """Seconds since the epoch; its own type so that it goes back on the wire as a timestamp."""


def text(raw: bytes) -> str:
    """A string of the wire. AMQP's strings are bytes; what is no UTF-8 survives the way there and back."""
    return raw.decode("utf-8", "surrogateescape")


def wire(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def split(raw: bytes) -> dict[str, bytes]:
    """Take the entries of a table (without its length prefix) apart: name to type octet and value.

    Raises HardError (502) if the bytes are no table.
    """
    return {text(raw[name:value]): raw[value:end] for name, value, end in _entries(raw, 0, len(raw), 0)}


def join(entries: dict[str, bytes]) -> bytes:
    """The inverse of `split`."""
    parts = []
    for name, value in entries.items():
        encoded = wire(name)
        if len(encoded) > 255:
            raise syntax_error(f"field name of {len(encoded)} bytes")
        parts.append(bytes((len(encoded),)) + encoded + value)
    return b"".join(parts)


def check(raw: bytes, start: int, end: int) -> None:
    """Walk over raw[start:end] and raise HardError (502) unless it is exactly one table's content."""
    for _ in _entries(raw, start, end, 0):
        pass


def decode(raw: bytes) -> Table:
    """A table's content (without its length prefix) as a dictionary. Raises HardError (502)."""
    return {name: decode_value(value) for name, value in split(raw).items()}


def encode(table: Table) -> bytes:
    """A dictionary as a table's content, in its own order."""
    return join({name: encode_value(value) for name, value in table.items()})


def decode_list(raw: bytes) -> list[Value]:
    """The content of an array (without type and length). Raises HardError (502)."""
    values = []
    position = 0
    while position < len(raw):
        value_end = _skip(raw, position, len(raw), 0)
        values.append(decode_value(raw[position:value_end]))
        position = value_end
    return values


def encode_list(values: Iterable[Value]) -> bytes:
    """The inverse of `decode_list`."""
    return b"".join(map(encode_value, values))


def decode_value(raw: bytes) -> Value:
    """One value with its type octet, as `split` gives it."""
    kind, start = raw[:1], 1
    if kind == b"S":
        return text(raw[5:])
    if kind == b"x":
        return raw[5:]
    if kind == b"F":
        return decode(raw[5:])
    if kind == b"A":
        return decode_list(raw[5:])
    if kind == b"V":
        return None
    if kind == b"D":
        places, unscaled = _DECIMAL.unpack_from(raw, start)
        return _scaled(unscaled, places)
    number: int | float = _FIXED[chr(kind[0])].unpack_from(raw, start)[0]
    return Timestamp(number) if kind == b"T" else number


def encode_value(value: Value) -> bytes:
    """One value with its type octet.

    Raises TypeError for a type and ValueError for a number that AMQP does not have.
    """
    match value:
        case None:
            return b"V"
        case bool():
            return b"t\x01" if value else b"t\x00"
        case Timestamp():
            return b"T" + _FIXED["T"].pack(value)
        case int():
            return _encode_int(value)
        case float():
            return b"d" + _FIXED["d"].pack(value)
        case str():
            return _sized(b"S", wire(value))
        case bytes():
            return _sized(b"x", value)
        case Decimal():
            return _encode_decimal(value)
        case list():
            return _sized(b"A", encode_list(value))
        case dict():
            return _sized(b"F", encode(value))
    raise TypeError(f"AMQP has no type for {type(value).__name__}")


def _entries(raw: bytes, start: int, end: int, depth: int) -> list[tuple[int, int, int]]:
    found = []
    position = start
    while position < end:
        name = position + 1
        position = name + raw[position]
        if position >= end:
            raise syntax_error("a field table ends within a field's name")
        value_end = _skip(raw, position, end, depth)
        found.append((name, position, value_end))
        position = value_end
    return found


def _skip(raw: bytes, position: int, end: int, depth: int) -> int:
    """The end of the value whose type octet stands at `position`."""
    kind = raw[position]
    if kind in _SIZED:
        start = position + 5
        if start > end:
            raise syntax_error("a field table ends within a length")
        value_end: int = start + _LONG.unpack_from(raw, position + 1)[0]
    else:
        size = _SIZE.get(kind)
        if size is None:
            raise syntax_error(f"unknown field type {chr(kind)!r}")
        start, value_end = position + 1, position + 1 + size
    if value_end > end:
        raise syntax_error("a field table ends within a value")
    if kind in _NESTED:
        if depth >= DEPTH_MAX:
            raise syntax_error(f"field tables nested deeper than {DEPTH_MAX}")
        if kind == 0x46:
            _entries(raw, start, value_end, depth + 1)
        else:
            while start < value_end:
                start = _skip(raw, start, value_end, depth + 1)
    return value_end


def _scaled(unscaled: int, places: int) -> Decimal:
    return Decimal(unscaled).scaleb(-places)


def _sized(kind: bytes, content: bytes) -> bytes:
    return kind + _LONG.pack(len(content)) + content


def _encode_int(value: int) -> bytes:
    for kind in "Il":
        try:
            return kind.encode() + _FIXED[kind].pack(value)
        except struct.error:
            continue
    raise ValueError(f"{value} does not fit into 64 bits")


def _encode_decimal(value: Decimal) -> bytes:
    if not value.is_finite():
        raise ValueError(f"AMQP has no decimal {value}")
    places = max(0, -int(value.as_tuple().exponent))
    try:
        unscaled = int(value.scaleb(places))
        return b"D" + _DECIMAL.pack(places, unscaled)
    except (struct.error, InvalidOperation) as error:
        raise ValueError(f"{value} does not fit into AMQP's decimal") from error
