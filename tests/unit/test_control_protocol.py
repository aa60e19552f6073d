"""Control messages: Celery's wire format, and signatures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.control import protocol, signing
from amqtask.control.protocol import BadCommand, Command, command_body, envelope, read_command, read_reply, reply
from amqtask.control.signing import Guard, Refused, sign

# As `celery -A proj control rate_limit proj.add 5/s -d celery@h1` sends it (reference/celery.md 2.3).
CELERYS = (
    b'{"method":"rate_limit","arguments":{"task_name":"proj.add","rate_limit":"5/s"},"destination":["celery@h1"],'
    b'"pattern":null,"matcher":null,"ticket":"t1","reply_to":{"exchange":"reply.celery.pidbox","routing_key":"oid"}}'
)


def test_a_command_of_celerys_is_read() -> None:
    assert read_command(envelope(CELERYS, {})) == Command(
        method="rate_limit",
        arguments={"task_name": "proj.add", "rate_limit": "5/s"},
        destination=("celery@h1",),
        ticket="t1",
        reply_to=("reply.celery.pidbox", "oid"),
    )


def test_a_command_is_written_as_celery_writes_it() -> None:
    assert json.loads(command_body(read_command(envelope(CELERYS, {})))) == json.loads(CELERYS)


def test_a_command_that_nobody_waits_for_has_no_ticket() -> None:
    assert json.loads(command_body(Command(method="shutdown"))) == {
        "method": "shutdown",
        "arguments": {},
        "destination": None,
        "pattern": None,
        "matcher": None,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "has a `method`"),
        (b'{"method": "ping", "arguments": [1]}', "are an object"),
        (b'{"method": "ping", "destination": 5}', "is a list"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_command_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(BadCommand, match=says):
        read_command(envelope(body, {}))


def test_a_command_that_is_too_long_or_pickled_is_not_decoded() -> None:
    pickled = envelope(b"{}", {})
    pickled.content_type = "application/x-python-serialize"
    with pytest.raises(BadCommand, match="not application/x-python"):
        read_command(pickled)
    with pytest.raises(BadCommand, match="too many"):
        read_command(envelope(b" " * (protocol.MAX_BODY + 1), {}))


def test_names_come_before_patterns_and_without_both_all_are_meant() -> None:
    assert Command(method="ping").is_for("a@h")
    assert Command(method="ping", destination=("a@h",)).is_for("a@h")
    assert not Command(method="ping", destination=("b@h",), pattern="*").is_for("a@h")
    assert Command(method="ping", pattern="a@*").is_for("a@h")
    assert not Command(method="ping", pattern="b*", matcher="glob").is_for("a@h")
    assert Command(method="ping", pattern="[ab]@", matcher="pcre").is_for("a@h")


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(BadCommand, match="no regular expression"):
        Command(method="ping", pattern="(", matcher="pcre").is_for("a@h")


def test_an_answer_comes_back_with_its_ticket_and_node() -> None:
    message = reply("a@h", {"ok": "pong"}, "t1", 7)

    assert read_reply(message) == ("t1", {"a@h": {"ok": "pong"}})
    assert message.headers == {"ticket": "t1", "clock": 7}


def test_what_json_has_no_form_for_is_shown_as_python_shows_it() -> None:
    assert read_reply(reply("a@h", {1, 2}, None, 0))[1] == {"a@h": "{1, 2}"}


@given(st.binary(), st.floats(0, 2e9), st.text(max_size=40))
def test_a_signed_message_passes_once(body: bytes, now: float, nonce: str) -> None:
    guard = Guard("secret")
    headers = sign("secret", body, now=now, nonce=nonce)

    guard.check(body, headers, now)
    with pytest.raises(Refused, match="here before"):
        guard.check(body, headers, now + 1)
    assert guard.refused == 1


@pytest.mark.parametrize("change", ["body", "secret", "time", "nonce", "unsigned"])
def test_a_message_that_was_changed_is_refused(change: str) -> None:
    headers = sign("secret" if change != "secret" else "guess", b"body", now=100.0, nonce="n")
    if change == "time":
        headers[signing.TIME] = 101_000
    if change == "nonce":
        headers[signing.NONCE] = "m"
    if change == "unsigned":
        headers = {}

    with pytest.raises(Refused, match=r"signature is wrong|not signed"):
        Guard("secret").check(b"other" if change == "body" else b"body", headers, 100.0)


@pytest.mark.parametrize("later", [signing.WINDOW + 1, -signing.WINDOW - 1])
def test_a_message_from_another_time_is_refused(later: float) -> None:
    with pytest.raises(Refused, match="signed"):
        Guard("secret").check(b"", sign("secret", b"", now=1000.0, nonce="n"), 1000.0 + later)


def test_a_replay_is_refused_for_as_long_as_its_time_is_good() -> None:
    guard = Guard("secret")
    headers = sign("secret", b"", now=1000.0 + signing.WINDOW, nonce="n")
    guard.check(b"", headers, 1000.0)

    with pytest.raises(Refused, match="before"):
        guard.check(b"", headers, 1000.0 + 2 * signing.WINDOW)


def test_without_a_secret_all_pass() -> None:
    Guard(None).check(b"", {}, 0.0)
