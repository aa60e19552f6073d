import contextlib
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, header

from amqtask.devbroker import properties
from amqtask.devbroker.errors import HardError
from amqtask.devbroker.properties import HEADERS, NAMES, scan

short = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
named = st.fixed_dictionaries(
    {},
    optional={
        "content_type": short,
        "content_encoding": short,
        "headers": st.dictionaries(
            short, st.one_of(st.integers(-(2**31), 2**31 - 1), short, st.booleans()), min_size=1, max_size=4
        ),
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 255),
        "correlation_id": short,
        "reply_to": short,
        "expiration": st.integers(0, 10**12).map(str),
        "message_id": short,
        "timestamp": st.integers(0, 2**32),
        "type": short,
        "user_id": short,
        "app_id": short,
    },
)


def by_pamqp(given: dict[str, object]) -> bytes:
    renamed = {"message_type" if name == "type" else name: value for name, value in given.items()}
    if "timestamp" in renamed:
        renamed["timestamp"] = datetime.datetime.fromtimestamp(float(str(renamed["timestamp"])), datetime.UTC)
    return header.ContentHeader(0, 0, commands.Basic.Properties(**renamed)).marshal()[12:]  # type: ignore[arg-type]


@given(named)
def test_properties_that_pamqp_wrote_are_read(given: dict[str, object]) -> None:
    assert properties.decode(by_pamqp(given)) == given


@given(named)
def test_properties_come_back_as_they_went(given: dict[str, properties.Value]) -> None:
    assert properties.decode(properties.encode(given)) == given


@given(named)
def test_properties_taken_apart_and_put_together_are_the_same_bytes(given: dict[str, object]) -> None:
    raw = by_pamqp(given)

    assert properties.join(properties.split(raw)) == raw


@given(named)
def test_the_scan_finds_what_a_broker_needs(given: dict[str, object]) -> None:
    found = scan(by_pamqp(given))

    for name in ("delivery_mode", "priority", "expiration", "user_id", "reply_to"):
        assert getattr(found, name) == given.get(name)


@given(named.filter(bool), st.data())
def test_properties_cut_short_are_refused(given: dict[str, object], data: st.DataObject) -> None:
    raw = by_pamqp(given)
    cut = data.draw(st.integers(0, len(raw) - 1))

    with pytest.raises(HardError) as refusal:
        scan(raw[:cut])

    assert refusal.value.code == 502


@given(named)
def test_bytes_after_the_properties_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(HardError, match="do not fill"):
        scan(by_pamqp(given) + b"\0")


@given(st.binary(max_size=80))
def test_any_bytes_are_properties_or_a_syntax_error(raw: bytes) -> None:
    with contextlib.suppress(HardError):
        properties.decode(raw)


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_sender_selected_keys_are_noticed(name: str) -> None:
    assert scan(properties.encode({"headers": {"a": 1, name: ["k"]}})).has_sender_selected_keys
    assert not scan(properties.encode({"headers": {"a": 1}})).has_sender_selected_keys


def test_headers_can_be_exchanged_without_touching_the_rest() -> None:
    raw = properties.encode({"content_type": "text/plain", "headers": {"a": 1}, "message_id": "m"})
    fields = properties.split(raw)
    fields[HEADERS] = None

    assert properties.decode(properties.join(fields)) == {"content_type": "text/plain", "message_id": "m"}


@pytest.mark.parametrize(
    ("name", "value"), [("priority", 256), ("priority", "1"), ("headers", "x"), ("message_id", "x" * 256), ("no", 1)]
)
def test_what_cannot_be_a_property_is_an_error(name: str, value: properties.Value) -> None:
    with pytest.raises(ValueError, match=r"be|has"):
        properties.encode({name: value})


def test_the_names_stand_in_the_order_of_the_wire() -> None:
    renamed = ["type" if name == "message_type" else name for name in commands.Basic.Properties.flags]

    assert list(NAMES) == renamed
