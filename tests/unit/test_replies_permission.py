"""Which permission is missing, where an older server does not say it."""

import pytest

from amqtask.drivers.replies import channel_error
from amqtask.errors import PermissionDenied


@pytest.mark.parametrize(
    ("operation", "refused", "permission"),
    [
        ("exchange.declare of 'x'", "exchange 'x'", "configure"),
        ("exchange.declare of 'x'", "exchange 'other'", "write"),
        ("queue.declare of 'q'", "queue 'q'", "configure"),
        ("queue.declare of 'q'", "exchange 'dlx'", "write"),
        ("queue.bind of 'q' to exchange 'x' with key 'k'", "queue 'q'", "write"),
        ("queue.bind of 'q' to exchange 'x' with key 'k'", "exchange 'x'", "read"),
        ("exchange.bind of 'y' to exchange 'x' with key 'k'", "exchange 'y'", "write"),
        ("basic.consume of queue 'q'", "queue 'q'", "read"),
        ("queue.purge of 'q'", "queue 'q'", "read"),
        ("basic.publish", "exchange 'x'", "write"),
    ],
)
def test_the_permission_follows_from_the_operation(operation: str, refused: str, permission: str) -> None:
    text = f"ACCESS_REFUSED - access to {refused} in vhost '/' refused for user 'u'"

    error = channel_error(403, text, operation)

    assert isinstance(error, PermissionDenied)
    assert f"(needed there: {permission}" in str(error)
    assert error.text == text


def test_a_server_that_names_the_permission_is_not_spoken_over() -> None:
    text = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"

    assert "needed there" not in str(channel_error(403, text, "queue.declare of 'q'"))


def test_other_refusals_get_no_permission() -> None:
    assert "needed there" not in str(
        channel_error(404, "NOT_FOUND - no queue 'q' in vhost '/'", "basic.consume of queue 'q'")
    )
    assert "needed there" not in str(channel_error(403, "ACCESS_REFUSED - something else", "basic.publish"))
