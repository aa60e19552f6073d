"""Task messages as Celery 5.7.0 and kombu 5.7.0 write them, beside the calls that they mean; read both ways.

Captured by calling `app.amqp.as_task_v2`, `app.amqp.as_task_v1` and `kombu.messaging.Producer._prepare`.
`tests/interop/test_celery_codec.py` asks the installed Celery whether it still writes the same.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

from amqtask.core.message import Envelope, TaskMessage

WHEN = datetime(2026, 11, 20, 12, 0, 0, 500000, tzinfo=UTC)
NOW = WHEN.timestamp() - 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A call, the envelope that Celery makes of it, and with which serializer and compression."""

    name: str
    message: TaskMessage
    envelope: Envelope
    serializer: str = "json"
    compression: str | None = None


def _signature(task: str, *args: object, immutable: bool = False, **more: object) -> dict[str, object]:
    return {
        "task": task,
        "args": list(args),
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": immutable,
        **more,
    }


SMALL = Golden(
    name="small",
    message=TaskMessage(id="8ba1b7d4", task="proj.add", args=(2, 2), root_id="8ba1b7d4", origin="gen1@h", reply_to="r"),
    envelope=Envelope(
        body=b'[[2, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
        headers={
            "lang": "py",
            "task": "proj.add",
            "id": "8ba1b7d4",
            "shadow": None,
            "eta": None,
            "expires": None,
            "group": None,
            "group_index": None,
            "retries": 0,
            "timelimit": [None, None],
            "root_id": "8ba1b7d4",
            "parent_id": None,
            "argsrepr": "(2, 2)",
            "kwargsrepr": "{}",
            "origin": "gen1@h",
            "ignore_result": False,
            "replaced_task_nesting": 0,
            "stamped_headers": None,
            "stamps": {},
        },
        content_type="application/json",
        content_encoding="utf-8",
        priority=0,
        correlation_id="8ba1b7d4",
        reply_to="r",
    ),
)

FULL = Golden(
    name="full",
    message=TaskMessage(
        id="t2",
        task="proj.media",
        args=("ü'\"", None, True, 1.5, [1, {"a": 2}]),
        kwargs={
            "when": WHEN,
            "day": date(2026, 1, 2),
            "at": time(3, 4, 5),
            "price": Decimal("1.10"),
            "id": UUID(int=7),
            "raw": b"abc",
            "bin": b"\xff\x00",
        },
        root_id="root",
        parent_id="p",
        group_id="g",
        group_index=3,
        retries=2,
        expires=WHEN,
        time_limit=60,
        soft_time_limit=30.5,
        ignore_result=True,
        reply_to="r2",
        shadow="media!",
        origin="w@h",
        argsrepr="the args",
        kwargsrepr="the kwargs",
        replaced_task_nesting=1,
        stamps={"k": "v"},
        callbacks=(_signature("proj.log", 1, immutable=True, kwargs={"a": 2}, options={"queue": "lo"}),),
        errbacks=(_signature("proj.err"),),
        chain=(_signature("c", 3),),
        chord=_signature("body", chord_size=4),
        headers={"tenant": "blue"},
    ),
    envelope=Envelope(
        body=(
            b'[["\\u00fc\'\\"", null, true, 1.5, [1, {"a": 2}]], '
            b'{"when": {"__type__": "datetime", "__value__": "2026-11-20T12:00:00.500000+00:00"}, '
            b'"day": {"__type__": "date", "__value__": "2026-01-02"}, '
            b'"at": {"__type__": "time", "__value__": "03:04:05"}, '
            b'"price": {"__type__": "decimal", "__value__": "1.10"}, '
            b'"id": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000007"}}, '
            b'"raw": {"__type__": "bytes", "__value__": "abc"}, '
            b'"bin": {"__type__": "base64", "__value__": "/wA="}}, '
            b'{"callbacks": [{"task": "proj.log", "args": [1], "kwargs": {"a": 2}, "options": {"queue": "lo"}, '
            b'"subtask_type": null, "immutable": true}], '
            b'"errbacks": [{"task": "proj.err", "args": [], "kwargs": {}, "options": {}, "subtask_type": null, '
            b'"immutable": false}], '
            b'"chain": [{"task": "c", "args": [3], "kwargs": {}, "options": {}, "subtask_type": null, '
            b'"immutable": false}], '
            b'"chord": {"task": "body", "args": [], "kwargs": {}, "options": {}, "subtask_type": null, '
            b'"immutable": false, "chord_size": 4}}]'
        ),
        headers={
            "lang": "py",
            "task": "proj.media",
            "id": "t2",
            "shadow": "media!",
            "eta": None,
            "expires": "2026-11-20T12:00:00.500000+00:00",
            "group": "g",
            "group_index": 3,
            "retries": 2,
            "timelimit": [60, 30.5],
            "root_id": "root",
            "parent_id": "p",
            "argsrepr": "the args",
            "kwargsrepr": "the kwargs",
            "origin": "w@h",
            "ignore_result": True,
            "replaced_task_nesting": 1,
            "stamped_headers": ["k"],
            "stamps": {"k": "v"},
            "tenant": "blue",
        },
        content_type="application/json",
        content_encoding="utf-8",
        priority=0,
        correlation_id="t2",
        reply_to="r2",
        expiration="90000",
    ),
)

_PLAIN = TaskMessage(
    id="t3", task="proj.add", args=(1, "a"), kwargs={"b": [1.5, None]}, root_id="t3", origin="o", reply_to="r"
)

_PLAIN_HEADERS = {
    **SMALL.envelope.headers,
    "id": "t3",
    "root_id": "t3",
    "argsrepr": "(1, 'a')",
    "kwargsrepr": "{'b': [1.5, None]}",
    "origin": "o",
}

MSGPACK = Golden(
    name="msgpack",
    serializer="msgpack",
    message=_PLAIN,
    envelope=Envelope(
        body=(
            b"\x93\x92\x01\xa1a\x81\xa1b\x92\xcb?\xf8\x00\x00\x00\x00\x00\x00\xc0"
            b"\x84\xa9callbacks\xc0\xa8errbacks\xc0\xa5chain\xc0\xa5chord\xc0"
        ),
        headers=_PLAIN_HEADERS,
        content_type="application/x-msgpack",
        content_encoding="binary",
        priority=0,
        correlation_id="t3",
        reply_to="r",
    ),
)

YAML = Golden(
    name="yaml",
    serializer="yaml",
    message=_PLAIN,
    envelope=Envelope(
        body=(
            b"- - 1\n  - a\n- b:\n  - 1.5\n  - null\n"
            b"- callbacks: null\n  chain: null\n  chord: null\n  errbacks: null\n"
        ),
        headers=_PLAIN_HEADERS,
        content_type="application/x-yaml",
        content_encoding="utf-8",
        priority=0,
        correlation_id="t3",
        reply_to="r",
    ),
)

PICKLE = Golden(
    name="pickle",
    serializer="pickle",
    message=_PLAIN,
    envelope=Envelope(
        body=(
            b"\x80\x04\x95O\x00\x00\x00\x00\x00\x00\x00K\x01\x8c\x01a\x94\x86\x94}\x94\x8c\x01b\x94]\x94(G?\xf8\x00\x00"
            b"\x00\x00\x00\x00Nes}\x94(\x8c\tcallbacks\x94N\x8c\x08errbacks\x94N\x8c\x05chain\x94N\x8c\x05chord\x94Nu"
            b"\x87\x94."
        ),
        headers=_PLAIN_HEADERS,
        content_type="application/x-python-serialize",
        content_encoding="binary",
        priority=0,
        correlation_id="t3",
        reply_to="r",
    ),
)

GZIP = Golden(
    name="gzip",
    compression="gzip",
    message=_PLAIN,
    envelope=Envelope(
        body=(
            b"x\x9c\x8b\x8e6\xd4QPJT\x8a\xd5Q\xa8VJR\xb2R\x886\xd43\xd5Q\xc8+\xcd\xc9\x89\xad\x05\x89%'\xe6\xe4$%&g"
            b'\x17\x03\xe5@\xa2@\xd5\xa9EEh"\xc9\x19\x89\x99y\xc8\xdc\xfc\xa2\x14(\xb76\x16\x00\xb1\x92\x1e\xb6'
        ),
        headers={**_PLAIN_HEADERS, "compression": "application/x-gzip"},
        content_type="application/json",
        content_encoding="utf-8",
        priority=0,
        correlation_id="t3",
        reply_to="r",
    ),
)

GOLDEN = (SMALL, FULL, MSGPACK, YAML, PICKLE, GZIP)

PROTOCOL_1 = Golden(
    name="protocol 1",
    message=TaskMessage(
        id="old",
        task="proj.add",
        args=(2,),
        kwargs={"b": 3},
        root_id="old",
        group_id="g",
        retries=1,
        eta=WHEN,
        time_limit=9,
        callbacks=(_signature("proj.log", 1, immutable=True, kwargs={"a": 2}, options={"queue": "lo"}),),
    ),
    envelope=Envelope(
        body=(
            b'{"task": "proj.add", "id": "old", "args": [2], "kwargs": {"b": 3}, "group": "g", "group_index": null, '
            b'"retries": 1, "eta": "2026-11-20T12:00:00.500000", "expires": null, "utc": true, "callbacks": '
            b'[{"task": "proj.log", "args": [1], "kwargs": {"a": 2}, "options": {"queue": "lo"}, "subtask_type": null, '
            b'"immutable": true}], "errbacks": null, "timelimit": [9, null], "taskset": "g", "chord": null}'
        ),
        headers={},
        content_type="application/json",
        content_encoding="utf-8",
        priority=0,
        correlation_id="old",
    ),
)
