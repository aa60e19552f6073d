"""Messages that are no tasks, or harm whoever reads them: none is executed, each is put aside with its reason, and the
worker lives on."""

import gzip
from collections.abc import Callable

import msgpack
import pytest

from amqtask import App
from amqtask.core.message import Envelope, HeaderValue
from amqtask.errors import BatchFailed, MessageTooLarge
from tests.e2e.test_delays import resident
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
    routes:
      - {task: "*", queue: work}
    content:
      accept: [json, msgpack]
      max_decompressed_size: 8MiB
    """

TASKS = """
    @app.task
    def mark(value):
        note("ran")

    @app.task
    def ping():
        return "pong"
    """

JSON = "application/json"
GOOD: dict[str, HeaderValue] = {"task": "tasks.mark", "id": "x"}


def message(
    body: bytes, headers: dict[str, HeaderValue] = GOOD, content_type: str | None = JSON, encoding: str | None = "utf-8"
) -> Envelope:
    return Envelope(body=body, headers=headers, content_type=content_type, content_encoding=encoding)


def nested(depth: int) -> HeaderValue:
    value: HeaderValue = 1
    for _ in range(depth):
        value = {"a": value}
    return value


BODIES = {
    "truncated": message(b'[["x"], {}, {}'),
    "empty": message(b""),
    "no list": message(b'"hello"'),
    "wrong parts": message(b"[[1], [2], [3]]"),
    "args no list": message(b'[{"a": 1}, {}, {}]'),
    "wrong charset": message(b'[["\xff\xfe"], {}, {}]'),
    "not what it says": message(msgpack.packb([["x"], {}, {}])),
    "deep": message(b"[" * 100_000),
    "deep and closed": message(b"[[" + b"[" * 50_000 + b"]" * 50_000 + b"], {}, {}]"),
    "digits": message(b"[[" + b"9" * 5000 + b"], {}, {}]"),
    "array of 2^32": message(b"\xdd\xff\xff\xff\xff", content_type="application/x-msgpack", encoding="binary"),
    "string of 2^32": message(b"\xdb\xff\xff\xff\xff", content_type="application/x-msgpack", encoding="binary"),
    "not compressed": message(b'[["x"], {}, {}]', {**GOOD, "compression": "application/x-gzip"}),
    "bomb": message(gzip.compress(b" " * 200 * 2**20), {**GOOD, "compression": "application/x-gzip"}),
}
REFUSED = {
    "pickle": message(b"\x80\x04N.", content_type="application/x-python-serialize", encoding="binary"),
    "yaml": message(b"[[x], {}, {}]", content_type="application/x-yaml"),
    "unknown": message(b"x", content_type="application/x-nobody-knows"),
    "no type": message(b'[["x"], {}, {}]', content_type=None),
    "odd encoding": message(b'[["x"], {}, {}]', encoding="utf-7"),
    "odd compression": message(b'[["x"], {}, {}]', {**GOOD, "compression": "application/x-nobody-knows"}),
}
HEADERS = {
    "none": message(b'[["x"], {}, {}]', {}),
    "no task": message(b'[["x"], {}, {}]', {"id": "x"}),
    "task a table": message(b'[["x"], {}, {}]', {**GOOD, "task": nested(3)}),
    "eta no time": message(b'[["x"], {}, {}]', {**GOOD, "eta": "tomorrow"}),
    "retries a text": message(b'[["x"], {}, {}]', {**GOOD, "retries": "many"}),
    "retries negative": message(b'[["x"], {}, {}]', {**GOOD, "retries": -1}),
    "limits a table": message(b'[["x"], {}, {}]', {**GOOD, "timelimit": {"a": 1}}),
    "id no text": message(b'[["x"], {}, {}]', {**GOOD, "id": b"\xff\xfe"}),
}
HARMLESS = {
    "many": message(b'[["x"], {}, {}]', {**GOOD, **{f"h{n}": n for n in range(8000)}}),
    "deep table": message(b'[["x"], {}, {}]', {**GOOD, "h": nested(60)}),
    "long": message(b'[["x"], {}, {}]', {**GOOD, "h": "x" * 100_000}),
}


def test_what_cannot_be_read_is_put_aside_with_its_reason_and_the_worker_lives_on(
    scratch: MakeScratch, vhost: str
) -> None:
    """Rows 25, 26, 28, 29 and 30."""
    app = scratch(TASKS, CONFIG)
    bad = {**BODIES, **REFUSED, **HEADERS}
    with app.worker("-c", "1", "-l", "critical") as worker, Queues(vhost) as queues:
        assert app.python("import tasks; print(tasks.ping.delay().get(timeout=30))") == "pong\n"
        (child,) = worker.children()
        before = resident(child)
        for name, envelope in bad.items():
            marked = {**envelope.headers, "x-name": name}
            envelope.headers = marked
            queues.put(envelope, "work")
        eventually(lambda: queues.depth("work.dlq") == len(bad), 90, lambda: f"{queues.depth('work.dlq')}")
        assert app.python("import tasks; print(tasks.ping.delay().get(timeout=30))") == "pong\n"
        assert worker.children() == [child], "the same process"
        grown = resident(child) - before
        dead = [delivery.envelope.headers for delivery in queues.take("work.dlq", len(bad))]
    assert app.lines() == [], "none was executed"
    assert grown < 100_000, "kB; the bomb is 200 MiB"
    reasons = {str(headers["x-name"]): str(headers["x-aqt-death-reason"]) for headers in dead}
    assert reasons.keys() == bad.keys()
    assert {reasons[name] for name in REFUSED} == {"content-refused"}
    assert {reasons[name] for name in HEADERS} == {"malformed"}
    assert {reasons[name] for name in BODIES} <= {"undecodable", "malformed"}
    assert all(headers["x-aqt-death-detail"] for headers in dead)


def test_headers_that_are_odd_and_harmless_go_through(scratch: MakeScratch, vhost: str) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-c", "1"), Queues(vhost) as queues:
        for envelope in HARMLESS.values():
            queues.put(envelope, "work")
        eventually(lambda: len(app.lines()) == len(HARMLESS))


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(vhost: str) -> None:
    """Row 27."""
    settings = {"queues": {"work": {}}, "broker": {"url": vhost}, "publish": {"max_message_size": "100KiB"}}
    with App("large", config=settings) as app, pytest.raises(MessageTooLarge, match=r"100\d+ bytes.*is 102400"):
        app.send_task("t", ("x" * 1_000_000,), queue="work", ignore_result=True)


def test_a_message_that_the_broker_finds_too_large_fails_alone(node: Node) -> None:
    """Row 27: the broker closes the channel, with all that is under way on it."""
    node.limit_message_size(100_000)
    try:
        url = node.fresh_vhost()
        with App("large", config={"queues": {"work": {}}, "broker": {"url": url}}) as app, Queues(url) as queues:
            failures = send_with_a_large_one(app)
            assert failures.keys() == {"id20"}
            assert "max size" in str(failures["id20"])
            # Those that were under way with it were sent again, and may be there twice.
            found = {
                str(delivery.envelope.headers["id"]) for delivery in queues.take("work", queues.depth("work") or 0)
            }
        assert found == {f"id{number}" for number in range(40)} - {"id20"}
    finally:
        node.limit_message_size(None)


def send_with_a_large_one(app: App) -> dict[str, Exception]:
    """Send forty messages at once, of which the twentieth is too large; what failed, by id."""
    try:
        with app.batch():
            for number in range(40):
                body = "x" * (200_000 if number == 20 else 10)
                app.send_task("t", (body,), task_id=f"id{number}", queue="work", ignore_result=True)
    except BatchFailed as failed:
        return dict(failed.failures)
    return {}
