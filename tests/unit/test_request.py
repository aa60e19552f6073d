"""Headers and properties of a delivery, as a Request."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.protocol import read_request
from amqtask.core.request import Request
from amqtask.errors import MalformedMessage
from tests.wire.celery_messages import FULL, SMALL


def request_of(envelope: Envelope, **headers: HeaderValue) -> Request:
    changed = replace(envelope, headers={**envelope.headers, **headers})
    return read_request(
        Delivery(
            envelope=changed,
            tag=1,
            generation=1,
            consumer_tag="c",
            exchange="tasks",
            routing_key="hi",
            redelivered=True,
        )
    )


def test_the_shadow_name_is_the_one_to_show() -> None:
    assert request_of(SMALL.envelope).name == "proj.add"
    assert request_of(FULL.envelope).name == "media!"


def test_a_request_knows_that_it_was_delivered_before() -> None:
    assert request_of(SMALL.envelope).redelivered is True


def test_a_sender_that_leaves_out_all_but_the_name_and_the_id_is_understood() -> None:
    request = request_of(Envelope(body=b"", headers={"task": "t", "id": "1"}))

    assert (request.task, request.id, request.root_id) == ("t", "1", "1")
    assert (request.retries, request.eta, request.time_limit, request.ignore_result) == (0, None, None, None)
    assert (request.stamps, request.headers, request.crashes, request.priority) == ({}, {}, 0, None)


def test_the_correlation_id_stands_in_for_a_missing_id() -> None:
    request = request_of(Envelope(body=b"", headers={"task": "t"}, correlation_id="c1"))

    assert request.id == "c1"


def test_text_may_come_as_bytes() -> None:
    request = request_of(SMALL.envelope, task=b"proj.mul", id="ü".encode(), eta=b"2026-01-02T03:04:05+00:00")

    assert (request.task, request.id) == ("proj.mul", "ü")
    assert request.eta == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05",
        "2026-01-02T05:04:05+02:00",
        datetime(2026, 1, 2, 3, 4, 5),
        datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_every_form_of_a_time_is_read_as_utc(value: HeaderValue) -> None:
    request = request_of(SMALL.envelope, eta=value, expires=value)

    assert request.eta == request.expires == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert request.eta is not None
    assert request.eta.tzinfo is UTC


def test_an_empty_time_and_a_limit_of_zero_mean_none() -> None:
    request = request_of(SMALL.envelope, eta="", timelimit=[0, 0.0])

    assert (request.eta, request.time_limit, request.soft_time_limit) == (None, None, None)


def test_the_hard_limit_comes_before_the_soft_one() -> None:
    request = request_of(SMALL.envelope, timelimit=[60, 30.5])

    assert (request.time_limit, request.soft_time_limit) == (60, 30.5)


def test_only_the_senders_own_headers_are_passed_on() -> None:
    request = request_of(FULL.envelope, **{"x-death": [{"count": 1}], "x-mine": 2, "compression": None})

    assert request.headers == {"tenant": "blue", "x-mine": 2}


@pytest.mark.parametrize(
    ("sent", "delivery_count", "acquired_count"),
    [
        ({}, None, None),
        ({"x-delivery-count": 0}, 0, None),
        ({"x-delivery-count": 2}, 2, None),
        ({"x-acquired-count": 3}, 0, 3),
        ({"x-acquired-count": 3, "x-delivery-count": 1}, 1, 3),
    ],
)
def test_only_failed_runs_count_where_the_broker_tells_them_from_hand_backs(
    sent: dict[str, HeaderValue], delivery_count: int | None, acquired_count: int | None
) -> None:
    request = request_of(SMALL.envelope, **sent)

    assert (request.delivery_count, request.acquired_count) == (delivery_count, acquired_count)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("task", "", "header 'task' is missing or empty"),
        ("task", 5, "header 'task' holds 5, expected a text"),
        ("task", b"\xff", "header 'task' holds bytes that are not UTF-8"),
        ("id", {"a": 1}, "header 'id' holds an object with 1 members, expected a text"),
        ("retries", "3", "header 'retries' holds '3', expected an int"),
        ("retries", -1, "header 'retries' holds -1, expected an int of 0 or more"),
        ("retries", True, "header 'retries' holds True, expected an int"),
        ("group_index", 1.0, "header 'group_index' holds 1.0, expected an int"),
        ("eta", "tomorrow", "header 'eta' holds 'tomorrow', which is no ISO 8601 time"),
        ("eta", 12, "header 'eta' holds 12, expected an ISO 8601 time"),
        ("expires", "0001-01-01T00:00:00+14:00", "header 'expires' holds .* out of range in UTC"),
        ("timelimit", 5, "header 'timelimit' holds 5, expected a list of two numbers"),
        ("timelimit", [1], "header 'timelimit' holds a list of 1, expected a list of two numbers"),
        ("timelimit", ["1", None], "header 'timelimit' holds '1', expected seconds"),
        ("timelimit", [float("nan"), None], "header 'timelimit' holds nan, expected seconds"),
        ("timelimit", [True, None], "header 'timelimit' holds True, expected seconds"),
        ("timelimit", [-1, None], "header 'timelimit' holds -1, expected seconds"),
        ("ignore_result", "yes", "header 'ignore_result' holds 'yes', expected a bool"),
        ("stamped_headers", "k", "header 'stamped_headers' holds 'k', expected a list of texts"),
        ("stamped_headers", ["k", 1], "header 'stamped_headers' holds 1, expected texts only"),
        ("stamps", ["k"], "header 'stamps' holds a list of 1, expected a table"),
        ("compression", 1, "header 'compression' holds 1, expected a text"),
    ],
)
def test_a_wrong_header_is_named_with_what_was_found(name: str, value: HeaderValue, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint):
        request_of(replace(SMALL.envelope, correlation_id=None), **{name: value})
