import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import body as pamqp_body
from pamqp import commands, header
from pamqp import frame as oracle

from amqtask.devbroker import hotpath, properties
from amqtask.devbroker.errors import HardError
from amqtask.devbroker.properties import short_field

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=40)
channels = st.integers(1, 2047)
tags = st.integers(0, 2**63 - 1)


@given(channels, names, tags, st.booleans(), names, names)
def test_a_delivery_is_what_pamqp_would_write(
    channel: int, tag: str, number: int, redelivered: bool, exchange: str, key: str
) -> None:
    prefix = hotpath.delivery_prefix(tag.encode())
    address = short_field(exchange) + short_field(key)

    expected = oracle.marshal(commands.Basic.Deliver(tag, number, redelivered, exchange, key), channel)
    assert hotpath.deliver(channel, prefix, number, redelivered, address) == expected


@given(channels, st.binary(max_size=300), st.sampled_from([0, 16, 64, 131072]))
def test_content_is_what_pamqp_would_write(channel: int, body: bytes, frame_max: int) -> None:
    known = properties.encode({"content_type": "text/plain", "delivery_mode": 2})
    step = frame_max - 8 if frame_max else max(1, len(body))

    expected = oracle.marshal(
        header.ContentHeader(0, len(body), commands.Basic.Properties(content_type="text/plain", delivery_mode=2)),
        channel,
    )
    for start in range(0, len(body), step):
        expected += oracle.marshal(pamqp_body.ContentBody(body[start : start + step]), channel)
    assert hotpath.content(channel, known, body, frame_max) == expected


@given(channels, tags, st.booleans())
def test_a_confirm_is_what_pamqp_would_write(channel: int, tag: int, multiple: bool) -> None:
    frame = hotpath.ack(channel, tag, multiple=multiple)

    assert frame == oracle.marshal(commands.Basic.Ack(tag, multiple), channel)
    assert hotpath.read_ack(frame[7:-1]) == (tag, multiple)


@given(names, names, st.booleans())
def test_a_publish_of_pamqp_is_read(exchange: str, key: str, mandatory: bool) -> None:
    payload = oracle.marshal(commands.Basic.Publish(0, exchange, key, mandatory), 1)[7:-1]

    address, bits = hotpath.read_publish(payload)
    assert hotpath.read_address(address) == (exchange.encode(), key.encode())
    assert bits == int(mandatory)


@given(names, names, st.data())
def test_a_publish_cut_short_or_too_long_is_refused(exchange: str, key: str, data: st.DataObject) -> None:
    payload = oracle.marshal(commands.Basic.Publish(0, exchange, key), 1)[7:-1]
    cut = data.draw(st.integers(4, len(payload) - 1))

    for wrong in (payload[:cut], payload + b"\0"):
        with pytest.raises(HardError) as refusal:
            hotpath.read_publish(wrong)
        assert refusal.value.code == 502
