"""What RabbitMQ 3.10.8 answered when each argument was declared on each type of queue."""

import pytest

from amqtask.devbroker.errors import HardError, SoftError
from amqtask.devbroker.tables import Value
from tests.unit.devbroker.rig import client

TAKEN = {
    "classic": [
        {"x-expires": 1000},
        {"x-message-ttl": 0},
        {"x-message-ttl": 315_360_000_000},
        {"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "k"},
        {"x-max-length": 0},
        {"x-max-length-bytes": 5},
        {"x-max-priority": 255},
        {"x-overflow": "reject-publish-dlx"},
        {"x-queue-mode": "lazy"},
        {"x-queue-version": 1},
        {"x-single-active-consumer": True},
        {"x-queue-master-locator": "client-local"},
        {"x-consumer-timeout": "x"},
        {"x-delayed-retry-type": "all"},
        {"x-unknown": 1},
    ],
    "quorum": [
        {"x-expires": 1000},
        {"x-message-ttl": 0},
        {"x-dead-letter-strategy": "at-least-once"},
        {"x-max-in-memory-length": 3},
        {"x-overflow": "reject-publish-dlx"},
        {"x-quorum-initial-group-size": 1},
        {"x-delivery-limit": -1},
        {"x-delivery-limit": "x"},
        {"x-queue-leader-locator": "balanced"},
        {"x-unknown": 1},
    ],
    "stream": [
        {"x-max-length-bytes": 5},
        {"x-max-age": "1h"},
        {"x-stream-max-segment-size-bytes": 1000},
        {"x-initial-cluster-size": 1},
        {"x-queue-leader-locator": "client-local"},
        {"x-unknown": 1},
    ],
}
REFUSED: list[tuple[str, dict[str, Value], str]] = [
    ("classic", {"x-expires": 0}, "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
    ("classic", {"x-expires": -1}, "{value_negative,-1}"),
    ("classic", {"x-expires": "1"}, '"expected integer, got longstr"'),
    ("classic", {"x-expires": True}, '"expected integer, got bool"'),
    ("classic", {"x-message-ttl": 315_360_000_001}, "{value_too_large,315360000001}"),
    (
        "classic",
        {"x-dead-letter-exchange": 1},
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    ),
    ("classic", {"x-dead-letter-routing-key": "k"}, "routing_key_but_no_dlx_defined"),
    ("classic", {"x-dead-letter-strategy": "at-least-once"}, "of queue type rabbit_classic_queue"),
    ("classic", {"x-max-length": -1}, "{value_negative,-1}"),
    ("classic", {"x-max-in-memory-length": 3}, "of queue type rabbit_classic_queue"),
    ("classic", {"x-max-priority": 256}, "{max_value_exceeded,256}"),
    ("classic", {"x-overflow": "zz"}, "invalid_overflow"),
    ("classic", {"x-queue-mode": "zz"}, "unsupported queue mode 'zz'"),
    ("classic", {"x-queue-version": 3}, "unsupported queue version"),
    ("classic", {"x-queue-version": [1]}, "unsupported queue version"),
    ("classic", {"x-single-active-consumer": "true"}, "{unacceptable_type,longstr}"),
    ("classic", {"x-queue-type": "zz"}, "unsupported queue type 'zz'"),
    ("classic", {"x-queue-type": 1}, "{unacceptable_type,signedint}"),
    ("classic", {"x-max-age": "1h"}, "of queue type rabbit_classic_queue"),
    ("classic", {"x-delivery-limit": 3}, "of queue type rabbit_classic_queue"),
    ("quorum", {"x-max-priority": 256}, "of queue type rabbit_quorum_queue"),
    ("quorum", {"x-queue-mode": "lazy"}, "of queue type rabbit_quorum_queue"),
    ("quorum", {"x-dead-letter-strategy": "zz"}, "invalid_dlx_strategy"),
    ("quorum", {"x-queue-leader-locator": "zz"}, "invalid_queue_locator_arg"),
    ("stream", {"x-message-ttl": 0}, "of queue type rabbit_stream_queue"),
    ("stream", {"x-max-length": 5}, "of queue type rabbit_stream_queue"),
    ("stream", {"x-overflow": "drop-head"}, "of queue type rabbit_stream_queue"),
]


def keyword(arguments: dict[str, Value]) -> dict[str, Value]:
    return {name.replace("-", "_"): value for name, value in arguments.items()}


@pytest.mark.parametrize(
    ("kind", "arguments"), [(kind, arguments) for kind, all_ in TAKEN.items() for arguments in all_]
)
def test_what_a_queue_takes(kind: str, arguments: dict[str, Value]) -> None:
    it = client("3.10")
    it.declare("q", **({"x_queue_type": kind} | keyword(arguments)))
    again = it.declare("q", **({"x_queue_type": kind} | keyword(arguments)))

    assert again.spec.kind.value == kind


@pytest.mark.parametrize(("kind", "arguments", "said"), REFUSED)
def test_what_a_queue_refuses_and_with_which_words(kind: str, arguments: dict[str, Value], said: str) -> None:
    it = client("3.10")
    with pytest.raises(SoftError) as refusal:
        it.declare("q", **({"x_queue_type": kind} | keyword(arguments)))

    assert refusal.value.code == 406
    assert said in refusal.value.text


@pytest.mark.parametrize("kind", ["quorum", "stream"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exclusive": True}, "exclusive-owner"),
        ({"auto_delete": True}, "auto-delete"),
        ({"durable": False}, "non-durable"),
    ],
)
def test_a_replicated_queue_is_durable_and_for_everybody(kind: str, fields: dict[str, bool], said: str) -> None:
    with pytest.raises(SoftError, match=f"invalid property '{said}'"):
        client().declare("q", x_queue_type=kind, **fields)  # type: ignore[arg-type]  # a bool is a Value too
    with pytest.raises(SoftError, match="server-named"):
        client().declare("", x_queue_type=kind)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"x_max_length": 1}, {"x_max_length": 2}, "inequivalent arg 'x-max-length' for queue 'q'"),
        ({"x_max_length": 1}, {}, "received none but current is the value '1' of type 'signedint'"),
        ({}, {"x_max_length": 1}, "received the value '1' of type 'signedint' but current is none"),
        ({"x_queue_type": "quorum"}, {}, "received none but current is the value 'quorum' of type 'longstr'"),
        ({"x_queue_type": "classic"}, {"x_queue_type": "zz"}, "inequivalent arg 'x-queue-type'"),
    ],
)
def test_a_second_declaration_must_say_the_same(first: dict[str, Value], second: dict[str, Value], said: str) -> None:
    it = client("3.10")
    it.declare("q", **first)

    with pytest.raises(SoftError) as refusal:
        it.declare("q", **second)
    assert refusal.value.code == 406
    assert said in refusal.value.text


@pytest.mark.parametrize(
    ("first", "second"), [({}, {"x_queue_type": "classic"}), ({"x_queue_type": "classic"}, {}), ({"x_unknown": 1}, {})]
)
def test_what_does_not_count_as_a_difference(first: dict[str, Value], second: dict[str, Value]) -> None:
    it = client("3.10")
    it.declare("q", **first)
    it.declare("q", **second)


@pytest.mark.parametrize(
    ("emulate", "arguments", "code"),
    [
        ("4.0", {"x_queue_version": 1}, None),
        ("4.3", {"x_queue_version": 1}, 406),
        ("4.0", {"x_consumer_timeout": 60_000}, None),
        ("4.3", {"x_consumer_timeout": 60_000}, 406),
        ("4.3", {"x_queue_type": "quorum", "x_consumer_timeout": 60_000}, None),
        ("4.0", {"x_queue_master_locator": "client-local"}, None),
        ("4.3", {"x_queue_master_locator": "client-local"}, 541),
        ("4.3", {"x_queue_type": "stream", "x_max_age": "zz"}, 541),
    ],
)
def test_what_a_version_refuses(emulate: str, arguments: dict[str, Value], code: int | None) -> None:
    it = client(emulate)
    if code is None:
        it.declare("q", **arguments)
        return
    with pytest.raises((SoftError, HardError)) as refusal:
        it.declare("q", **arguments)
    assert refusal.value.code == code
