import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode as oracle_decode
from pamqp import encode as oracle_encode

from amqtask.devbroker import tables
from amqtask.devbroker.errors import HardError
from amqtask.devbroker.tables import Timestamp, Value

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
leaves: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.binary(max_size=20),
    st.builds(Timestamp, st.integers(0, 2**40)),
    st.decimals(min_value=-(2**31), max_value=2**31 - 1, places=0, allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
contents = st.dictionaries(names, values, max_size=6)


@given(contents)
def test_a_table_comes_back_as_it_went(table: tables.Table) -> None:
    decoded = tables.decode(tables.encode(table))

    assert decoded == table
    assert list(decoded) == list(table)


@given(contents)
def test_a_table_taken_apart_and_put_together_is_the_same_bytes(table: tables.Table) -> None:
    raw = tables.encode(table)

    assert tables.join(tables.split(raw)) == raw


@given(
    st.dictionaries(
        names,
        st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8"))),
        max_size=6,
    )
)
def test_pamqp_reads_what_is_written_here(table: tables.Table) -> None:
    raw = tables.encode(table)

    assert oracle_decode.field_table(len(raw).to_bytes(4, "big") + raw)[1] == table


@given(
    st.dictionaries(
        names,
        st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8"))),
        max_size=6,
    )
)
def test_what_pamqp_writes_is_read_here(table: dict[str, object]) -> None:
    raw = oracle_encode.field_table(table)  # type: ignore[arg-type]  # a dictionary of fewer types

    assert tables.decode(raw[4:]) == table


@given(contents.filter(bool), st.data())
def test_a_table_cut_short_within_an_entry_is_refused(table: tables.Table, data: st.DataObject) -> None:
    raw = tables.encode(table)
    ends = {
        sum(len(tables.encode({name: value})) for name, value in list(table.items())[:n]) for n in range(len(table) + 1)
    }
    cut = data.draw(st.integers(0, len(raw)).filter(lambda n: n not in ends))

    with pytest.raises(HardError) as refusal:
        tables.decode(raw[:cut])

    assert refusal.value.code == 502


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_a_syntax_error(raw: bytes) -> None:
    with contextlib.suppress(HardError):
        tables.decode(raw)


def test_a_string_that_is_no_utf8_survives_the_way_there_and_back() -> None:
    raw = b"\x01kS\x00\x00\x00\x02\xff\xfe"

    assert tables.encode(tables.decode(raw)) == raw


def test_a_double_stays_a_double() -> None:
    assert tables.decode(tables.encode({"pi": 3.141592653589793})) == {"pi": 3.141592653589793}


def test_tables_nested_too_deep_are_refused_and_do_not_exhaust_the_stack() -> None:
    raw = b""
    for _ in range(10_000):
        raw = b"\x01kF" + len(raw).to_bytes(4, "big") + raw

    with pytest.raises(HardError, match="nested deeper"):
        tables.decode(raw)


def test_arrays_nested_too_deep_are_refused_too() -> None:
    raw = b""
    for _ in range(10_000):
        raw = b"A" + len(raw).to_bytes(4, "big") + raw

    with pytest.raises(HardError, match="nested deeper"):
        tables.decode(b"\x01k" + raw)


def test_what_amqp_has_no_type_for_is_an_error_here_already() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        tables.encode({"big": 2**64})
    with pytest.raises(ValueError, match="no decimal"):
        tables.encode({"nan": Decimal("NaN")})
