"""The server's words about an object that exists with other properties."""

import pytest

from amqtask.core.inequivalence import Inequivalence, parse_inequivalence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'lo' in vhost '/': "
            "received the value '5' of type 'signedint' but current is the value '10' of type 'long'",
            Inequivalence(kind="queue", name="lo", argument="x-max-priority", wanted="5", found="10"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'a.b' in vhost 'v': "
            "received none but current is the value '1000' of type 'signedint'",
            Inequivalence(kind="queue", name="a.b", argument="x-message-ttl", wanted=None, found="1000"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'all' in vhost 'cfgdev': "
            "received 'topic' but current is 'fanout'",
            Inequivalence(kind="exchange", name="all", argument="type", wanted="topic", found="fanout"),
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'it's' in vhost '/': "
            "received 'false' but current is 'true'",
            Inequivalence(kind="queue", name="it's", argument="durable", wanted="false", found="true"),
        ),
    ],
)
def test_a_difference_is_read(text: str, expected: Inequivalence) -> None:
    assert parse_inequivalence(text) == expected


def test_a_difference_is_told_with_what_was_wanted_and_what_is_there() -> None:
    difference = Inequivalence(kind="queue", name="lo", argument="x-max-length", wanted="5", found=None)

    assert str(difference) == 'queue "lo": x-max-length is none on the broker, and 5 is wanted'


@pytest.mark.parametrize("text", ["", "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q'", "NOT_FOUND"])
def test_other_refusals_are_no_differences(text: str) -> None:
    assert parse_inequivalence(text) is None
