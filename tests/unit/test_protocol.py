"""Task messages on the wire: what Celery writes is read, and what we write is what Celery would."""

import contextlib
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.body import task_body
from amqtask.core.compress import compress
from amqtask.core.headers import BROKER_HEADERS, CRASHES
from amqtask.core.message import PERSISTENT, TRANSIENT, Delivery, Envelope, HeaderValue, TaskMessage
from amqtask.core.protocol import MAX_REPR, read_body, read_request, republish_envelope, to_envelope, to_message
from amqtask.core.request import Request
from amqtask.core.serialize import DEFAULT_SERIALIZERS
from amqtask.errors import (
    ConfigError,
    ContentRefused,
    MalformedMessage,
    MessageError,
    Undecodable,
    Unserializable,
)
from tests.wire.celery_messages import FULL, GOLDEN, GZIP, NOW, PICKLE, PROTOCOL_1, SMALL, WHEN, Golden

ALL = ("json", "msgpack", "yaml", "pickle")
SAFE = ("json", "msgpack", "yaml")


def delivery(envelope: Envelope, *, redelivered: bool = False) -> Delivery:
    return Delivery(
        envelope=envelope,
        tag=7,
        generation=1,
        consumer_tag="c",
        exchange="tasks",
        routing_key="hi",
        redelivered=redelivered,
    )


def request_of(envelope: Envelope) -> Request:
    return read_request(delivery(envelope))


def with_headers(envelope: Envelope, **headers: HeaderValue) -> Envelope:
    return replace(envelope, headers={**envelope.headers, **headers})


# Golden messages


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_message_of_celery_is_read_as_the_call_that_it_means(golden: Golden) -> None:
    request = request_of(golden.envelope)
    body = read_body(request, accept=ALL)

    assert request.protocol == 2
    assert to_message(request, body) == replace(golden.message, argsrepr=None, kwargsrepr=None)
    assert request.argsrepr == golden.envelope.headers["argsrepr"]
    assert request.kwargsrepr == golden.envelope.headers["kwargsrepr"]


@pytest.mark.parametrize(
    "golden", [golden for golden in GOLDEN if golden not in (PICKLE, GZIP)], ids=lambda golden: golden.name
)
def test_a_call_is_written_byte_for_byte_as_celery_writes_it(golden: Golden) -> None:
    envelope = to_envelope(golden.message, serializer=golden.serializer, now=NOW)

    assert envelope == golden.envelope
    assert list(envelope.headers) == list(golden.envelope.headers)


def test_a_compressed_call_differs_from_celerys_in_nothing_but_the_choices_of_zlib() -> None:
    envelope = to_envelope(GZIP.message, compression="gzip", now=NOW)

    assert zlib.decompress(envelope.body) == zlib.decompress(GZIP.envelope.body)
    assert replace(envelope, body=b"") == replace(GZIP.envelope, body=b"")


@pytest.mark.parametrize("serializer", ALL)
@pytest.mark.parametrize("compression", [None, "gzip", "bz2", "lzma", "zstd"])
def test_what_is_written_is_read_again(serializer: str, compression: str | None) -> None:
    message = replace(SMALL.message, args=(1, "ü", [None, 1.5]), kwargs={"x": {"y": True}})

    request = request_of(to_envelope(message, serializer=serializer, compression=compression, now=NOW))

    assert to_message(request, read_body(request, accept=[serializer])) == message


# Protocol 1


def test_a_message_of_protocol_1_is_read_as_if_it_were_of_protocol_2() -> None:
    request = request_of(PROTOCOL_1.envelope)

    assert request.protocol == 1
    assert to_message(request, read_body(request)) == PROTOCOL_1.message
    assert request.delivery.tag == 7


def test_a_message_of_protocol_1_is_retried_as_one_of_protocol_2() -> None:
    request = request_of(PROTOCOL_1.envelope)

    again = request_of(republish_envelope(request, eta=None, retries=2, now=NOW))

    assert again.protocol == 2
    assert again.retries == 2
    assert to_message(again, read_body(again)) == replace(PROTOCOL_1.message, retries=2, eta=None)


def test_a_body_of_protocol_1_must_be_of_an_accepted_type() -> None:
    with pytest.raises(ContentRefused, match="application/json"):
        read_request(delivery(PROTOCOL_1.envelope), accept=["msgpack"])


def test_a_message_that_is_no_task_is_told_so() -> None:
    with pytest.raises(MalformedMessage, match="header 'task' is missing"):
        request_of(Envelope(body=b'{"event": 1}', content_type="application/json", content_encoding="utf-8"))


def test_a_body_of_protocol_1_under_headers_of_protocol_2_is_read() -> None:
    request = request_of(replace(PROTOCOL_1.envelope, headers={"task": "proj.add", "id": "old"}))

    body = read_body(request)

    assert (body.args, body.kwargs) == ((2,), {"b": 3})
    assert body.callbacks == PROTOCOL_1.message.callbacks


def test_a_compressed_body_of_protocol_1_is_read_and_passed_on_uncompressed() -> None:
    body, content_type = compress(PROTOCOL_1.envelope.body, "gzip")

    request = request_of(replace(PROTOCOL_1.envelope, body=body, headers={"compression": content_type, "mine": 1}))

    assert read_body(request).args == (2,)
    assert (request.compression, request.headers) == (None, {"mine": 1})


def test_a_group_of_old_celery_is_called_a_taskset() -> None:
    body = PROTOCOL_1.envelope.body.replace(b'"group": "g", ', b"")

    assert request_of(replace(PROTOCOL_1.envelope, body=body)).group_id == "g"


# Writing


def test_the_root_of_a_call_of_nobody_is_the_call_itself() -> None:
    assert to_envelope(TaskMessage(id="a", task="t"), now=NOW).headers["root_id"] == "a"


def test_expires_becomes_milliseconds_from_now_and_never_less_than_none() -> None:
    soon = replace(SMALL.message, expires=WHEN)

    assert to_envelope(soon, now=WHEN.timestamp() - 1.5).expiration == "1500"
    assert to_envelope(soon, now=WHEN.timestamp() + 60).expiration == "0"


def test_a_message_for_later_has_no_expiration_of_its_own_because_delay_queues_would_let_it_out_early() -> None:
    envelope = to_envelope(replace(SMALL.message, eta=WHEN, expires=WHEN + timedelta(hours=1)), now=NOW)

    assert envelope.expiration is None
    assert request_of(envelope).expires == WHEN + timedelta(hours=1)


def test_a_time_beyond_what_rabbitmq_takes_as_expiration_is_left_to_the_worker() -> None:
    far = datetime(9999, 1, 1, tzinfo=UTC)

    envelope = to_envelope(replace(SMALL.message, expires=far), now=NOW)

    assert envelope.expiration is None
    assert request_of(envelope).expires == far


def test_the_representations_of_arguments_are_cut_at_their_limit() -> None:
    envelope = to_envelope(replace(SMALL.message, args=("x" * 3000,), kwargs={"y": ["z" * 3000] * 20}), now=NOW)

    for name in ("argsrepr", "kwargsrepr"):
        shown = envelope.headers[name]
        assert isinstance(shown, str)
        assert len(shown) <= MAX_REPR
        assert "..." in shown


def test_representations_that_the_sender_gives_are_sent_instead() -> None:
    envelope = to_envelope(replace(SMALL.message, argsrepr="(secret)", kwargsrepr=""), now=NOW)

    assert (envelope.headers["argsrepr"], envelope.headers["kwargsrepr"]) == ("(secret)", "")


class Counted:
    """Counts how often its representation is asked for."""

    asked = 0

    def __json__(self) -> str:
        return "counted"

    def __repr__(self) -> str:
        Counted.asked += 1
        return "Counted()"


def test_of_many_arguments_only_a_few_are_represented() -> None:
    to_envelope(replace(SMALL.message, args=([Counted() for _ in range(5000)],)), now=NOW)

    assert 0 < Counted.asked < 100


class Shy:
    """It has a JSON form, but no representation."""

    def __json__(self) -> str:
        return "shy"

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_an_argument_that_fails_to_represent_itself_is_sent_all_the_same() -> None:
    envelope = to_envelope(replace(SMALL.message, args=(Shy(),)), now=NOW)

    assert envelope.headers["argsrepr"] == "<unrepresentable: RuntimeError>"
    assert read_body(request_of(envelope)).args == ("shy",)


def test_priority_and_persistence_become_properties() -> None:
    assert to_envelope(SMALL.message, priority=7, now=NOW).priority == 7
    assert to_envelope(SMALL.message, now=NOW).priority == 0
    assert to_envelope(SMALL.message, now=NOW).delivery_mode == PERSISTENT
    assert to_envelope(SMALL.message, persistent=False, now=NOW).delivery_mode == TRANSIENT


def test_keyword_arguments_may_be_any_mapping() -> None:
    envelope = to_envelope(replace(SMALL.message, kwargs=MappingProxyType({"a": 1})), now=NOW)

    assert read_body(request_of(envelope)).kwargs == {"a": 1}


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((1, {"when": [2, object()]}), {}, r"args\[1\]\['when'\]\[1\] as json: its type is object"),
        ((), {"f": print}, r"kwargs\['f'\] as json: its type is builtin_function_or_method"),
        (({(1, 2): 3},), {}, r"args\[0\] as json: its type is dict \(keys must be"),
    ],
)
def test_an_argument_that_has_no_form_is_named(args: tuple[object, ...], kwargs: dict[str, object], path: str) -> None:
    with pytest.raises(Unserializable, match=path):
        to_envelope(replace(SMALL.message, args=args, kwargs=kwargs), now=NOW)


def test_unknown_serializers_and_compressions_are_mistakes_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"unknown serializer 'xml' \(known are json, msgpack"):
        to_envelope(SMALL.message, serializer="xml", now=NOW)
    with pytest.raises(ConfigError, match=r"unknown compression 'rar'"):
        to_envelope(SMALL.message, compression="rar", now=NOW)


# Reading bodies


def test_what_is_not_accepted_is_not_even_looked_at() -> None:
    calls: list[bytes] = []
    spying = DEFAULT_SERIALIZERS.register("spy", "application/x-spy", "binary", lambda value: b"", calls.append)
    envelope = replace(SMALL.envelope, content_type="application/x-spy", content_encoding="binary")
    compressed = with_headers(envelope, compression="application/x-gzip")

    for offered in (envelope, compressed):
        with pytest.raises(ContentRefused, match="'application/x-spy' is not accepted here; accepted: json"):
            read_body(request_of(offered), accept=["json"], serializers=spying)
    assert calls == []


def test_pickle_is_refused_unless_it_is_named() -> None:
    request = request_of(PICKLE.envelope)

    with pytest.raises(ContentRefused, match="application/x-python-serialize"):
        read_body(request)
    assert read_body(request, accept=["pickle"]).args == (1, "a")
    assert read_body(request, accept=["application/x-python-serialize"]).args == (1, "a")


def test_an_encoding_that_changes_the_bytes_is_refused() -> None:
    for encoding in ("gzip", "latin-1"):
        with pytest.raises(ContentRefused, match=f"content encoding '{encoding}'"):
            read_body(request_of(replace(SMALL.envelope, content_encoding=encoding)))
    for encoding in ("UTF-8", "us-ascii", "binary", "", None):
        assert read_body(request_of(replace(SMALL.envelope, content_encoding=encoding))).args == (2, 2)


def test_a_compressed_body_may_not_unfold_beyond_the_limit() -> None:
    envelope = to_envelope(replace(SMALL.message, args=("x" * 100_000,)), compression="gzip", now=NOW)

    with pytest.raises(Undecodable, match="more than the 65536 bytes"):
        read_body(request_of(envelope), max_decompressed_size=2**16)
    assert read_body(request_of(envelope), max_decompressed_size=2**17).args == ("x" * 100_000,)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"1", "the body is 1, expected"),
        (b"[[], {}]", "a list of 2, expected"),
        (b'{"a": 1}', "an object with 1 members, expected"),
        (b'["ab", {}, {}]', "args of the body hold 'ab'"),
        (b"[[], [], {}]", "kwargs of the body hold a list of 0"),
        (b"[[], {}, []]", "third item of the body is a list of 0"),
        (b'[[], {}, {"callbacks": 1}]', "callbacks of the body hold 1, expected a list"),
        (b'[[], {}, {"errbacks": [1]}]', "errbacks of the body hold 1, expected a signature"),
        (b'[[], {}, {"chain": [{"task": 1}]}]', "chain of the body hold an object with 1 members"),
        (b'[[], {}, {"chord": [1]}]', "chord of the body hold a list of 1"),
    ],
)
def test_a_body_of_another_shape_is_described(body: bytes, found: str) -> None:
    with pytest.raises(MalformedMessage, match=found):
        read_body(request_of(replace(SMALL.envelope, body=body)))


def test_keyword_arguments_must_have_names() -> None:
    with pytest.raises(MalformedMessage, match="kwargs of the body have the key 1"):
        task_body([[], {1: 2}, None])


def test_a_body_without_its_third_part_is_a_plain_call() -> None:
    body = read_body(request_of(replace(SMALL.envelope, body=b"[[1], null, null]")))

    assert (body.args, body.kwargs, body.callbacks, body.chord) == ((1,), {}, (), None)


# Publishing again


def test_a_retry_is_the_same_message_with_another_count_and_time() -> None:
    request = request_of(FULL.envelope)
    later = WHEN + timedelta(minutes=5)

    envelope = republish_envelope(request, eta=later, retries=3, now=NOW)

    assert envelope.body is FULL.envelope.body
    assert envelope.headers == {**FULL.envelope.headers, "retries": 3, "eta": later.isoformat()}
    assert envelope.expiration is None
    assert replace(envelope, headers={}, expiration=None) == replace(FULL.envelope, headers={}, expiration=None)
    again = request_of(envelope)
    assert (again.retries, again.eta, again.expires) == (3, later, WHEN)


def test_a_retry_at_once_keeps_what_is_left_of_the_time_to_expire() -> None:
    request = request_of(FULL.envelope)

    assert republish_envelope(request, eta=None, now=WHEN.timestamp() - 10).expiration == "10000"


def test_nothing_that_the_broker_wrote_is_published_again() -> None:
    broken = {name: "x" for name in BROKER_HEADERS if not name.endswith("count")}
    envelope = with_headers(
        replace(SMALL.envelope, user_id="guest"), **broken, **{"x-delivery-count": 3, "x-acquired-count": 4, "mine": 1}
    )

    again = republish_envelope(request_of(envelope), eta=None, now=NOW)

    assert again.headers == {**SMALL.envelope.headers, "mine": 1}
    assert again.user_id is None


def test_crashes_are_counted_in_a_header_of_ours() -> None:
    once = republish_envelope(request_of(SMALL.envelope), eta=None, crashes=1, now=NOW)

    assert once.headers[CRASHES] == 1
    assert request_of(once).crashes == 1
    assert request_of(once).headers == {}
    assert request_of(once).retries == 0


def test_headers_can_be_added_to_a_message_that_is_published_again() -> None:
    again = republish_envelope(request_of(SMALL.envelope), eta=None, now=NOW, extra_headers={"x-aqt-error": "boom"})

    assert request_of(again).headers == {"x-aqt-error": "boom"}


# Hostile input


header_values: st.SearchStrategy[HeaderValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.decimals()
    | st.datetimes()
    | st.datetimes(timezones=st.just(timezone(timedelta(hours=-14)))),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
header_names = st.sampled_from(
    [*FULL.envelope.headers, "compression", CRASHES, "x-delivery-count", "x-acquired-count", "x-death"]
)


@given(st.sampled_from([FULL, SMALL, GZIP]), st.dictionaries(header_names, header_values, min_size=1, max_size=3))
def test_any_header_is_read_or_refused(golden: Golden, changes: dict[str, HeaderValue]) -> None:
    envelope = with_headers(golden.envelope, **changes)
    try:
        request = request_of(envelope)
        read_body(request)
    except MessageError:
        return
    assert isinstance(request.retries, int)
    assert request.eta is None or request.eta.tzinfo is UTC
    assert request_of(republish_envelope(request, eta=request.eta, now=NOW)).id == request.id


@given(st.data())
def test_a_body_cut_off_anywhere_is_refused(data: st.DataObject) -> None:
    golden = data.draw(st.sampled_from([SMALL, FULL, GZIP, *(g for g in GOLDEN if g.serializer == "msgpack")]))
    end = data.draw(st.integers(0, len(golden.envelope.body) - 1))

    with pytest.raises(MessageError):
        read_body(request_of(replace(golden.envelope, body=golden.envelope.body[:end])), accept=SAFE)


@settings(max_examples=60)
@given(st.data())
def test_a_body_with_changed_bytes_is_read_or_refused(data: st.DataObject) -> None:
    golden = data.draw(st.sampled_from([golden for golden in (*GOLDEN, PROTOCOL_1) if golden is not PICKLE]))
    body = bytearray(golden.envelope.body)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    envelope = replace(golden.envelope, body=bytes(body))

    with contextlib.suppress(MessageError):
        read_body(read_request(delivery(envelope), accept=SAFE), accept=SAFE)


@given(st.binary(max_size=60), st.sampled_from(["json", "x-msgpack", "x-yaml"]), st.booleans())
def test_any_bytes_are_read_or_refused(body: bytes, kind: str, headers: bool) -> None:
    envelope = replace(
        SMALL.envelope, body=body, content_type=f"application/{kind}", headers=SMALL.envelope.headers if headers else {}
    )
    with contextlib.suppress(MessageError):
        read_body(read_request(delivery(envelope), accept=SAFE), accept=SAFE)


def test_ten_thousand_headers_are_read_as_the_senders_own() -> None:
    many = {f"h{number}": number for number in range(10_000)}

    assert request_of(with_headers(SMALL.envelope, **many)).headers == many


def test_a_header_nested_without_end_is_refused_by_name() -> None:
    nested: HeaderValue = []
    for _ in range(100_000):
        nested = [nested]

    with pytest.raises(MalformedMessage, match="header 'shadow' holds a list of 1"):
        request_of(with_headers(SMALL.envelope, shadow=nested))
