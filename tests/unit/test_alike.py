"""Decoding content headers that are alike: faster, and never otherwise than one by one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.alike import FORMS, LESSONS, HeaderReader
from amqtask.core.content import decode_envelope, encode_header
from amqtask.core.message import Envelope, HeaderValue

texts = st.sampled_from(["", "a", "b", "ab", "ba", "é", "\u20ac", "task.a", "task.b"])
values: st.SearchStrategy[HeaderValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
envelopes = st.builds(
    Envelope,
    body=st.sampled_from([b"", b"one", b"another"]),
    headers=st.dictionaries(st.sampled_from(["id", "task", "args", "n"]), values, max_size=4),
    content_type=st.sampled_from([None, "application/json"]),
    priority=st.sampled_from([None, 0, 3]),
    correlation_id=st.none() | texts,
    reply_to=st.none() | texts,
    timestamp=st.sampled_from([None, 5]),
)

TASK = Envelope(
    body=b"[]",
    headers={"task": "shop.charge", "id": "1000", "retries": 0, "timelimit": [None, None], "stamps": {}},
    content_type="application/json",
    correlation_id="1000",
)


def decoded_in_turn(*sent: Envelope) -> list[Envelope]:
    reader = HeaderReader()
    return [reader.decode(encode_header(envelope), envelope.body) for envelope in sent]


def with_id(id: str) -> Envelope:  # noqa: A002 - the header's name
    return replace(TASK, headers={**TASK.headers, "id": id}, correlation_id=id)


@given(st.lists(envelopes, max_size=12))
def test_whatever_came_before_a_header_is_decoded_as_if_it_came_alone(sent: list[Envelope]) -> None:
    assert decoded_in_turn(*sent) == [decode_envelope(encode_header(envelope), envelope.body) for envelope in sent]


def test_headers_that_differ_in_texts_are_told_apart() -> None:
    sent = [with_id(str(number)) for number in range(1000, 1000 + 3 * LESSONS)]
    assert decoded_in_turn(*sent) == sent


def test_headers_of_one_length_that_differ_in_more_than_texts_are_told_apart() -> None:
    sent = [replace(TASK, headers={"retries": number, "id": "same"}) for number in range(3 * LESSONS)]
    assert decoded_in_turn(*sent) == sent


def test_octets_that_are_no_text_stay_octets() -> None:
    reader = HeaderReader()
    for number in range(1000, 1004):
        reader.decode(encode_header(with_id(str(number))), b"[]")
    broken = encode_header(with_id("1004")).replace(b"S\x00\x00\x00\x041004", b"S\x00\x00\x00\x04\xff004")
    assert reader.decode(broken, b"[]").headers["id"] == b"\xff004"


def test_two_messages_share_no_list_and_no_table() -> None:
    first, second, third = decoded_in_turn(with_id("1000"), with_id("1001"), with_id("1001"))
    for name in ("timelimit", "stamps"):
        assert first.headers[name] is not second.headers[name]
        assert second.headers[name] is not third.headers[name]


def test_what_is_remembered_is_bounded() -> None:
    reader = HeaderReader()
    for length in range(2 * FORMS):
        reader.decode(encode_header(replace(TASK, headers={"id": "x" * length})), b"[]")
    assert len(reader._forms) <= FORMS
