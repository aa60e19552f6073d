"""Content headers of the basic class: an envelope's properties as octets and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.content import body_size, decode_envelope, encode_header
from amqtask.core.message import Envelope
from amqtask.errors import MalformedMessage, Unserializable

short = st.none() | st.text(max_size=60)
envelopes = st.builds(
    Envelope,
    body=st.binary(max_size=50),
    headers=st.dictionaries(st.text(max_size=10), st.none() | st.integers(-9, 9) | st.text(), max_size=4),
    content_type=short,
    content_encoding=short,
    delivery_mode=st.sampled_from([1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=short,
    reply_to=short,
    expiration=short,
    message_id=short,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    type=short,
    user_id=short,
    app_id=short,
)


def test_a_header_is_class_weight_body_size_flags_and_the_properties_in_their_order() -> None:
    envelope = Envelope(body=b"four", content_type="text/plain", priority=9, message_id="m", headers={"a": None})

    octets = encode_header(envelope)

    assert octets == (
        b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\xb8\x80\x0atext/plain\x00\x00\x00\x03\x01aV\x02\x09\x01m"
    )
    assert body_size(octets) == 4
    assert decode_envelope(octets, b"four") == envelope


def test_a_message_without_properties_is_transient() -> None:
    assert decode_envelope(b"\x00\x3c" + bytes(12), b"") == Envelope(body=b"", delivery_mode=1)


@given(envelopes)
def test_every_envelope_comes_back(envelope: Envelope) -> None:
    assert decode_envelope(encode_header(envelope), envelope.body) == envelope


@given(envelopes, st.data())
def test_a_header_cut_short_is_malformed(envelope: Envelope, data: st.DataObject) -> None:
    octets = encode_header(envelope)

    with pytest.raises(MalformedMessage):
        decode_envelope(octets[: data.draw(st.integers(0, len(octets) - 1))], envelope.body)


@given(st.binary())
def test_any_octets_are_a_header_or_malformed(octets: bytes) -> None:
    try:
        body_size(octets)
        decode_envelope(octets, b"")
    except MalformedMessage:
        return


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("priority", 256, "not between 0 and 255"),
        ("priority", -1, "not between 0 and 255"),
        ("correlation_id", "x" * 256, "short strings hold 255"),
        ("timestamp", -1, "not between 0 and 2"),
        ("headers", {"h": 2**70}, "'h' cannot be sent"),
    ],
)
def test_a_property_that_amqp_cannot_hold_is_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(Unserializable, match=reason):
        encode_header(Envelope(body=b"", **{field: value}))  # type: ignore[arg-type]  # one field of several types
