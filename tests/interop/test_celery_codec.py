"""Our envelopes in the hands of Celery's and kombu's own functions, and theirs in ours; no broker in between."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from celery import Celery
from celery.canvas import Signature as CelerySignature
from celery.worker.request import Request as CeleryRequest
from hypothesis import given
from hypothesis import strategies as st
from kombu import compression, serialization
from kombu.message import Message
from kombu.messaging import Producer
from kombu.utils import json as kombu_json

from amqtask.core import compress, extended_json
from amqtask.core.message import Delivery, Envelope, TaskMessage
from amqtask.core.protocol import read_body, read_request, republish_envelope, to_envelope, to_message
from amqtask.core.serialize import DEFAULT_SERIALIZERS
from amqtask.core.signature import Signature
from tests.wire.celery_messages import FULL, GOLDEN, NOW, PROTOCOL_1, SMALL, WHEN, Golden

SERIALIZERS = ["json", "msgpack", "yaml", "pickle"]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.binary(max_size=10)
    | st.datetimes(timezones=st.none() | st.just(timezone(timedelta(hours=-3, minutes=-30))))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(max_size=5), items, max_size=4),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def celery() -> Celery:
    app = Celery("interop", broker="memory://", set_as_current=False)

    @app.task(name="proj.media")
    def media(*args: object, **kwargs: object) -> None:
        """Never run: Celery's Request wants a task to exist."""

    return app


def from_celery(celery: Celery, message: TaskMessage, serializer: str, how: str | None) -> Envelope:
    """The envelope that Celery makes of the call."""
    made = celery.amqp.as_task_v2(
        message.id,
        message.task,
        args=message.args,
        kwargs=dict(message.kwargs),
        group_id=message.group_id,
        group_index=message.group_index,
        expires=message.expires,
        eta=message.eta,
        retries=message.retries,
        chord=message.chord,
        callbacks=list(message.callbacks) or None,
        errbacks=list(message.errbacks) or None,
        chain=list(message.chain) or None,
        reply_to=message.reply_to,
        time_limit=message.time_limit,
        soft_time_limit=message.soft_time_limit,
        root_id=message.root_id,
        parent_id=message.parent_id,
        shadow=message.shadow,
        origin=message.origin,
        ignore_result=message.ignore_result,
        argsrepr=message.argsrepr,
        kwargsrepr=message.kwargsrepr,
        replaced_task_nesting=message.replaced_task_nesting,
        stamped_headers=list(message.stamps) or None,
        **message.stamps,
    )
    headers = {**made.headers, **message.headers}
    body, content_type, content_encoding = Producer(None, auto_declare=False)._prepare(
        made.body, serializer, None, None, how, headers
    )
    return Envelope(
        body=body if isinstance(body, bytes) else body.encode(),
        headers=headers,
        content_type=content_type,
        content_encoding=content_encoding,
        priority=0,
        correlation_id=made.properties["correlation_id"],
        reply_to=made.properties["reply_to"] or None,
    )


def to_kombu(envelope: Envelope, accept: list[str]) -> Message:
    """The message as kombu gives it to Celery's worker."""
    return Message(
        body=envelope.body,
        content_type=envelope.content_type,
        content_encoding=envelope.content_encoding,
        headers=dict(envelope.headers),
        properties={"correlation_id": envelope.correlation_id, "reply_to": envelope.reply_to},
        delivery_info={"exchange": "", "routing_key": "celery", "redelivered": False},
        accept=serialization.prepare_accept_content(accept),
    )


def delivered(envelope: Envelope) -> Delivery:
    return Delivery(
        envelope=envelope, tag=1, generation=1, consumer_tag="c", exchange="", routing_key="celery", redelivered=False
    )


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_the_installed_celery_still_writes_the_golden_messages(celery: Celery, golden: Golden) -> None:
    written = from_celery(celery, golden.message, golden.serializer, golden.compression)

    assert replace(written, body=b"") == replace(golden.envelope, body=b"", expiration=None)
    if golden.compression is None and golden.serializer != "pickle":
        assert written.body == golden.envelope.body


def test_the_installed_celery_still_writes_the_golden_message_of_protocol_1(celery: Celery) -> None:
    made = celery.amqp.as_task_v1(
        "old",
        "proj.add",
        args=(2,),
        kwargs={"b": 3},
        retries=1,
        eta=WHEN.replace(tzinfo=None),
        time_limit=9,
        group_id="g",
        callbacks=list(PROTOCOL_1.message.callbacks),
    )

    assert kombu_json.dumps(made.body).encode() == PROTOCOL_1.envelope.body


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("how", [None, "gzip", "bzip2", "lzma"])
def test_celery_decodes_what_we_publish(serializer: str, how: str | None) -> None:
    message = replace(SMALL.message, args=(1, "ü", [None, 1.5]), kwargs={"x": {"y": True}})
    envelope = to_envelope(message, serializer=serializer, compression=how, now=NOW)

    args, kwargs, embed = to_kombu(envelope, [serializer]).decode()

    assert list(args) == list(message.args)
    assert kwargs == message.kwargs
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("how", [None, "gzip", "bzip2", "lzma"])
def test_we_decode_what_celery_publishes(celery: Celery, serializer: str, how: str | None) -> None:
    message = replace(SMALL.message, args=(1, "ü", [None, 1.5]), kwargs={"x": {"y": True}})

    request = read_request(delivered(from_celery(celery, message, serializer, how)))

    assert to_message(request, read_body(request, accept=[serializer])) == message


def test_celerys_worker_reads_every_header_of_ours(celery: Celery) -> None:
    later = replace(FULL.message, eta=WHEN - timedelta(seconds=30))
    message = to_kombu(to_envelope(later, now=NOW), ["json"])

    request = CeleryRequest(message, app=celery, task=celery.tasks["proj.media"])

    assert (request.id, request.name, request.root_id, request.parent_id) == ("t2", "media!", "root", "p")
    assert (request.eta, request.expires) == (later.eta, later.expires)
    assert request.time_limits == [60, 30.5]
    assert (request.argsrepr, request.kwargsrepr) == ("the args", "the kwargs")
    assert (request.group, request.group_index, request.reply_to) == ("g", 3, "r2")
    assert request.stamped_headers == ["k"]
    assert request.stamps == {"k": "v"}
    assert request.ignore_result is True
    assert request.chord == FULL.message.chord
    context = request._context
    assert (context.retries, context.headers, context.replaced_task_nesting) == (2, {"tenant": "blue"}, 1)


def test_celerys_worker_reads_a_retry_of_ours(celery: Celery) -> None:
    request = read_request(delivered(from_celery(celery, FULL.message, "json", None)))
    envelope = republish_envelope(request, eta=WHEN - timedelta(seconds=5), retries=3, now=NOW)

    again = CeleryRequest(to_kombu(envelope, ["json"]), app=celery, task=celery.tasks["proj.media"])

    assert again.id == FULL.message.id
    assert again.eta == WHEN - timedelta(seconds=5)
    assert again._context.retries == 3
    assert tuple(again.args) == FULL.message.args


@given(values)
def test_json_is_the_same_bytes_and_the_same_values_as_kombus(value: object) -> None:
    ours = extended_json.dumps(value)

    assert ours == kombu_json.dumps(value).encode()
    assert kombu_json.loads(ours) == extended_json.loads(ours) == value


@pytest.mark.parametrize("name", SERIALIZERS)
def test_content_types_and_encodings_are_kombus(name: str) -> None:
    content_type, content_encoding, _ = serialization.dumps([1], serializer=name)

    ours = DEFAULT_SERIALIZERS.named(name)

    assert (ours.content_type, ours.content_encoding) == (content_type, content_encoding)


@pytest.mark.parametrize("name", ["gzip", "zlib", "bzip2", "bzip", "lzma", "xz"])
def test_kombu_decompresses_what_we_compress_and_the_other_way_round(name: str) -> None:
    ours, our_type = compress.compress(b"hello" * 100, name)
    theirs, their_type = compression.compress(b"hello" * 100, name)

    assert our_type == their_type
    assert compression.decompress(ours, our_type) == b"hello" * 100
    assert compress.decompress(theirs, their_type, 1000) == b"hello" * 100


def test_signatures_mean_the_same_to_both(celery: Celery) -> None:
    theirs = celery.signature("proj.add", args=(2,), kwargs={"c": 3}, options={"queue": "lo"}, immutable=True)
    theirs.link(celery.signature("proj.log", args=(1,)))

    ours = Signature.from_json(extended_json.loads(kombu_json.dumps(theirs).encode()))

    assert ours == Signature(
        task="proj.add",
        args=(2,),
        kwargs={"c": 3},
        options={"queue": "lo", "link": [Signature(task="proj.log", args=(1,)).to_json()]},
        immutable=True,
    )
    back = CelerySignature.from_dict(kombu_json.loads(extended_json.dumps(ours)), app=celery)
    assert back.clone(args=(9,), queue="hi").options["queue"] == ours.clone((9,), queue="hi").options["queue"]
    assert kombu_json.dumps(back) == kombu_json.dumps(theirs)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"c": 9, "d": 4})], ids=["nothing", "args", "both"]
)
@pytest.mark.parametrize("immutable", [False, True])
def test_completing_a_signature_gives_what_celery_gives(
    celery: Celery, args: tuple[object, ...], kwargs: dict[str, object], immutable: bool
) -> None:
    theirs = celery.signature("t", args=(5,), kwargs={"c": 3}, options={"group_id": "g"}, immutable=immutable)
    ours = Signature(task="t", args=(5,), kwargs={"c": 3}, options={"group_id": "g"}, immutable=immutable)

    wanted = theirs.clone(args=args, kwargs=kwargs, queue="hi", group_id="other")

    assert (
        kombu_json.loads(kombu_json.dumps(wanted)) == ours.clone(args, kwargs, queue="hi", group_id="other").to_json()
    )


def test_extended_types_survive_the_way_to_celery_and_back(celery: Celery) -> None:
    kwargs = {
        "when": datetime(2026, 1, 2, 3, 4, 5, 6),
        "day": date(2026, 1, 2),
        "at": time(1, 2, 3),
        "price": Decimal("1.10"),
        "id": UUID(int=5),
        "raw": b"\xff\xfe",
    }

    _, theirs, _ = to_kombu(to_envelope(replace(SMALL.message, kwargs=kwargs), now=NOW), ["json"]).decode()
    request = read_request(delivered(from_celery(celery, replace(SMALL.message, kwargs=theirs), "json", None)))

    assert read_body(request).kwargs == kwargs
