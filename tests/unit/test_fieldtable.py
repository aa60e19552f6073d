"""AMQP field tables: literal octets on one side, a value on the other."""

import enum
import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import amqp.serialization
import pika.data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.fieldtable import MAX_DEPTH, decode_short, decode_table, encode_short, encode_table
from amqtask.core.message import HeaderValue
from amqtask.errors import MalformedMessage, Unserializable

PAIRS: list[tuple[HeaderValue, bytes]] = [
    (None, b"V"),
    (True, b"t\x01"),
    (False, b"t\x00"),
    (0, b"I\x00\x00\x00\x00"),
    (-1, b"I\xff\xff\xff\xff"),
    (2**31 - 1, b"I\x7f\xff\xff\xff"),
    (2**31, b"l\x00\x00\x00\x00\x80\x00\x00\x00"),
    (-(2**63), b"l\x80\x00\x00\x00\x00\x00\x00\x00"),
    (1.5, b"d\x3f\xf8\x00\x00\x00\x00\x00\x00"),
    ("é", b"S\x00\x00\x00\x02\xc3\xa9"),
    (b"\xff", b"x\x00\x00\x00\x01\xff"),
    (Decimal("-1.50"), b"D\x02\xff\xff\xff\x6a"),
    (Decimal("300"), b"D\x00\x00\x00\x01\x2c"),
    (datetime(1970, 1, 2, tzinfo=UTC), b"T\x00\x00\x00\x00\x00\x01\x51\x80"),
    (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), b"T\xff\xff\xff\xff\xff\xff\xff\xff"),
    ([], b"A\x00\x00\x00\x00"),
    ([None, [True]], b"A\x00\x00\x00\x08VA\x00\x00\x00\x02t\x01"),
    ({}, b"F\x00\x00\x00\x00"),
    ({"a": {"": None}}, b"F\x00\x00\x00\x09\x01aF\x00\x00\x00\x02\x00V"),
]

# What other clients write and we do not.
FOREIGN: list[tuple[bytes, HeaderValue]] = [
    (b"b\xff", -1),
    (b"B\xff", 255),
    (b"s\xff\xfe", -2),
    (b"u\xff\xfe", 65534),
    (b"i\xff\xff\xff\xff", 2**32 - 1),
    (b"L\xff\xff\xff\xff\xff\xff\xff\xff", -1),
    (b"f\x3f\x80\x00\x00", 1.0),
    # Long strings that are no UTF-8 stay octets.
    (b"S\x00\x00\x00\x02\xc3\x28", b"\xc3\x28"),
    # Milliseconds where seconds are meant: an instant beyond the year 9999 stays a number.
    (b"T\x00\x00\x7f\xff\xff\xff\xff\xff", 0x7FFFFFFFFFFF),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(-21_474_836, 21_474_836, places=2)
    | st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(microsecond=0))
)
names = st.text(max_size=60)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))
tables = st.dictionaries(names, values, max_size=6)


def table_of(octets: bytes) -> bytes:
    content = b"\x01k" + octets
    return len(content).to_bytes(4) + content


@pytest.mark.parametrize(("value", "octets"), PAIRS)
def test_values_and_octets_stand_for_each_other(value: HeaderValue, octets: bytes) -> None:
    assert encode_table({"k": value}) == table_of(octets)
    decoded, end = decode_table(b"??" + table_of(octets) + b"trailing", 2)

    assert decoded == {"k": value}
    assert type(decoded["k"]) is type(value)
    assert end == 2 + 4 + 2 + len(octets)


@pytest.mark.parametrize(("octets", "value"), FOREIGN)
def test_the_types_of_other_clients_are_read(octets: bytes, value: HeaderValue) -> None:
    decoded, _ = decode_table(table_of(octets), 0)

    assert decoded == {"k": value}
    assert type(decoded["k"]) is type(value)


@given(tables)
def test_every_table_comes_back(table: dict[str, HeaderValue]) -> None:
    assert decode_table(encode_table(table), 0) == (table, len(encode_table(table)))


# Neither library reads an instant before 1970, and pika no infinity: so these are not arbitrary.
@pytest.mark.parametrize("value", [value for value, octets in PAIRS if not octets.startswith(b"T\xff")])
def test_the_libraries_read_what_we_write(value: HeaderValue) -> None:
    octets = encode_table({"k": value, "last": "one"})

    assert amqp.serialization.loads("F", octets, 0)[0][0]["last"] == "one"
    assert pika.data.decode_table(octets, 0)[0]["last"] == "one"


def test_we_read_what_the_libraries_write() -> None:
    table = {"s": "é", "n": None, "i": -5, "l": 2**40, "b": True, "d": {"x": [1, "two"]}, "raw": b"\xff"}
    pieces: list[bytes] = []

    pika.data.encode_table(pieces, table)

    assert decode_table(b"".join(pieces), 0)[0] == table
    # py-amqp writes octets as a long string.
    assert decode_table(amqp.serialization.dumps("F", (table,)), 0)[0] == table


@given(tables, st.data())
def test_a_table_cut_short_is_malformed(table: dict[str, HeaderValue], data: st.DataObject) -> None:
    octets = encode_table(table)
    cut = octets[: data.draw(st.integers(0, len(octets) - 1))]

    with pytest.raises(MalformedMessage):
        decode_table(cut, 0)


@given(st.binary())
def test_any_octets_are_a_table_or_malformed(octets: bytes) -> None:
    try:
        table, end = decode_table(octets, 0)
    except MalformedMessage:
        return
    assert end <= len(octets)
    assert isinstance(table, dict)


@given(st.binary(max_size=40))
def test_any_value_within_a_table_is_one_or_malformed(octets: bytes) -> None:
    try:
        table, end = decode_table(table_of(octets), 0)
    except MalformedMessage:
        return
    assert (next(iter(table)), end) == ("k", len(table_of(octets)))


def test_a_value_that_is_longer_than_its_table_is_malformed() -> None:
    octets = b"\x00\x00\x00\x07\x01kS\x00\x00\x00\x09" + b"longer than that"

    with pytest.raises(MalformedMessage, match="longer than the table"):
        decode_table(octets, 0)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(MalformedMessage, match="unknown type 'z'"):
        decode_table(table_of(b"z"), 0)


def test_deep_nesting_is_refused_both_ways_and_not_by_the_stack() -> None:
    table: dict[str, HeaderValue] = {}
    array: list[HeaderValue] = []
    octets = inner = b"A\x00\x00\x00\x00"
    for _ in range(MAX_DEPTH + 1):
        table = {"k": table}
        array = [array]
        octets = b"F" + table_of(octets)
        inner = b"A" + len(inner).to_bytes(4) + inner

    for value in (table, array):
        with pytest.raises(Unserializable, match="nests deeper"):
            encode_table({"k": value})
    for content in (octets, inner):
        with pytest.raises(MalformedMessage, match=r"nests? deeper"):
            decode_table(table_of(content), 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**63, "more than 64 bits"),
        (-(2**63) - 1, "more than 64 bits"),
        (datetime(2026, 1, 1), "no instant"),
        (Decimal("NaN"), "no finite decimal"),
        (Decimal("1e20"), "32 bits and a scale"),
        (Decimal("1e-300"), "32 bits and a scale"),
        (Decimal("12345678901"), "32 bits and a scale"),
        (object(), "no type for object"),
        ({1: "x"}, "the key 1 is no string"),
        ([{"x" * 256: 1}], "short strings hold 255"),
    ],
)
def test_what_a_table_cannot_hold_is_refused_with_its_key(value: HeaderValue, reason: str) -> None:
    with pytest.raises(Unserializable, match=f"'the-key' cannot be sent: .*{reason}"):
        encode_table({"the-key": value})


def test_an_instant_of_any_zone_and_fraction_becomes_a_whole_second_of_utc() -> None:
    instant = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))

    assert decode_table(encode_table({"k": instant}), 0)[0] == {"k": datetime(2026, 1, 1, 10, tzinfo=UTC)}


def test_kinds_of_the_known_types_are_written_like_them() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    table: dict[str, HeaderValue] = {"colour": Colour.RED, "level": Level.HIGH, "pair": (1, 2)}  # type: ignore[dict-item]

    assert decode_table(encode_table(table), 0)[0] == {"colour": "red", "level": 3, "pair": [1, 2]}


def test_not_a_number_travels() -> None:
    (value,) = decode_table(encode_table({"k": math.nan}), 0)[0].values()

    assert isinstance(value, float)
    assert math.isnan(value)


@given(st.binary(max_size=255))
def test_a_short_string_of_any_octets_survives(octets: bytes) -> None:
    text, end = decode_short(bytes((len(octets),)) + octets, 0)

    assert end == 1 + len(octets)
    assert encode_short(text) == bytes((len(octets),)) + octets
