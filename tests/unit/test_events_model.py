"""Events on the wire."""

import json

import pytest

from amqtask.events.model import LONGEST_TEXT, cut, envelope, read, routing_key


def test_an_event_goes_under_its_type() -> None:
    assert routing_key("worker-heartbeat") == "worker.heartbeat"


def test_a_batch_and_a_single_event_are_read_alike() -> None:
    event = {"type": "task-started", "uuid": "1"}

    assert list(read(envelope(event, "a@h"))) == [event]
    assert list(read(envelope([event, event], "a@h"))) == [event, event]


def test_what_is_no_event_is_left_out() -> None:
    assert list(read(envelope([{"type": "task-started"}, 5, {"type": 7}, {}], "a@h"))) == [{"type": "task-started"}]  # type: ignore[list-item]


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    message = envelope({}, "a@h")
    message.body = body

    with pytest.raises(ValueError, match=r".+"):
        list(read(message))


def test_an_event_is_transient_json_with_its_node_in_the_headers() -> None:
    message = envelope({"type": "x", "thing": {1}}, "a@h")

    assert (message.delivery_mode, message.content_type) == (1, "application/json")
    assert message.headers == {"hostname": "a@h"}
    assert json.loads(message.body)["thing"] == "{1}"


def test_long_texts_are_cut() -> None:
    assert cut("a" * LONGEST_TEXT) == "a" * LONGEST_TEXT
    assert len(cut("a" * 9999)) == LONGEST_TEXT + 1
