"""Which argument is legal for which type of queue, since when, and how it is written on the wire: data.

Taken from the queue types' `capabilities/0` in RabbitMQ's source and from trials on 3.10, 4.0 and 4.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from amqtask.core.message import HeaderValue

Version: TypeAlias = tuple[int, ...]
Unit: TypeAlias = Literal["count", "milliseconds", "bytes", "text", "flag", "age"]

CLASSIC, QUORUM, STREAM = "classic", "quorum", "stream"
QUEUE_TYPES = (QUORUM, CLASSIC, STREAM)
TYPE_SINCE: Mapping[str, Version] = {QUORUM: (3, 8), STREAM: (3, 9)}

LONGEST_TTL_MS = 315_360_000_000
"""Ten years: the server answers 406 `value_too_large` to more."""

NO_DELIVERY_LIMIT = 2**31 - 1
"""What is sent for -1, no limit.

Servers before 4.0 take -1 for less than one delivery and drop a message at its first requeue. A limit that nothing
reaches is no limit to all of them, and the same argument whoever declares the queue.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueArgument:
    """One argument of `queue.declare`.

    `setting` is its name in the YAML. `types` are the queue types that know it, each with the first version of the
    server that does, `until` the version that refuses it again. `values` are the legal texts by type.
    """

    setting: str
    key: str
    unit: Unit
    types: Mapping[str, Version]
    until: Mapping[str, Version] = field(default_factory=dict)
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    least: int = 0

    def encode(self, value: bool | float | str) -> HeaderValue:
        """The setting's value (seconds for times) as the argument's."""
        if self.unit == "milliseconds":
            return round(float(value) * 1000)
        if self.unit == "age":
            return f"{max(1, round(float(value)))}s"
        return value

    def is_well_formed(self, value: HeaderValue) -> bool:
        """Whether the argument's value is of the right kind."""
        if self.unit == "flag":
            return isinstance(value, bool)
        if self.unit == "text":
            return isinstance(value, str)
        if self.unit == "age":
            return isinstance(value, str) and re.fullmatch(r"\d+[YMDhms]", value) is not None
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return value >= self.least and (self.unit != "milliseconds" or value <= LONGEST_TTL_MS)


def _any(*types: str) -> Mapping[str, Version]:
    return dict.fromkeys(types, (0,))


QUEUE_ARGUMENTS: tuple[QueueArgument, ...] = (
    QueueArgument(
        setting="message_ttl", key="x-message-ttl", unit="milliseconds", types={CLASSIC: (0,), QUORUM: (3, 10)}
    ),
    QueueArgument(setting="expires", key="x-expires", unit="milliseconds", types=_any(CLASSIC, QUORUM), least=1),
    QueueArgument(setting="max_length", key="x-max-length", unit="count", types=_any(CLASSIC, QUORUM)),
    QueueArgument(setting="max_bytes", key="x-max-length-bytes", unit="bytes", types=_any(CLASSIC, QUORUM, STREAM)),
    QueueArgument(
        setting="overflow",
        key="x-overflow",
        unit="text",
        types=_any(CLASSIC, QUORUM),
        values={
            CLASSIC: ("drop-head", "reject-publish", "reject-publish-dlx"),
            QUORUM: ("drop-head", "reject-publish"),
        },
    ),
    QueueArgument(
        setting="dead_letter.exchange", key="x-dead-letter-exchange", unit="text", types=_any(CLASSIC, QUORUM)
    ),
    QueueArgument(
        setting="dead_letter.routing_key", key="x-dead-letter-routing-key", unit="text", types=_any(CLASSIC, QUORUM)
    ),
    QueueArgument(
        setting="dead_letter.strategy",
        key="x-dead-letter-strategy",
        unit="text",
        types={QUORUM: (3, 10)},
        values={QUORUM: ("at-most-once", "at-least-once")},
    ),
    QueueArgument(setting="delivery_limit", key="x-delivery-limit", unit="count", types=_any(QUORUM), least=-1),
    QueueArgument(setting="max_priority", key="x-max-priority", unit="count", types=_any(CLASSIC), least=1),
    QueueArgument(
        setting="single_active_consumer", key="x-single-active-consumer", unit="flag", types=_any(CLASSIC, QUORUM)
    ),
    QueueArgument(
        setting="leader_locator",
        key="x-queue-leader-locator",
        unit="text",
        types=_any(CLASSIC, QUORUM, STREAM),
        values=dict.fromkeys(QUEUE_TYPES, ("client-local", "balanced")),
    ),
    QueueArgument(
        setting="initial_group_size", key="x-quorum-initial-group-size", unit="count", types=_any(QUORUM), least=1
    ),
    QueueArgument(
        setting="initial_group_size", key="x-initial-cluster-size", unit="count", types=_any(STREAM), least=1
    ),
    QueueArgument(
        setting="consumer_timeout",
        key="x-consumer-timeout",
        unit="milliseconds",
        types={CLASSIC: (3, 12), QUORUM: (3, 12)},
        until={CLASSIC: (4, 3)},
    ),
    QueueArgument(
        setting="delayed_retry.type",
        key="x-delayed-retry-type",
        unit="text",
        types={QUORUM: (4, 3)},
        values={QUORUM: ("all", "failed", "returned")},
    ),
    QueueArgument(setting="delayed_retry.min", key="x-delayed-retry-min", unit="milliseconds", types={QUORUM: (4, 3)}),
    QueueArgument(setting="delayed_retry.max", key="x-delayed-retry-max", unit="milliseconds", types={QUORUM: (4, 3)}),
    QueueArgument(setting="max_age", key="x-max-age", unit="age", types=_any(STREAM)),
    QueueArgument(
        setting="segment_size", key="x-stream-max-segment-size-bytes", unit="bytes", types=_any(STREAM), least=1
    ),
    QueueArgument(
        setting="filter_size", key="x-stream-filter-size-bytes", unit="count", types={STREAM: (3, 13)}, least=16
    ),
)

BY_KEY: Mapping[str, QueueArgument] = {argument.key: argument for argument in QUEUE_ARGUMENTS}


def parse_version(text: str) -> Version | None:
    """The version in a server's own words ("RabbitMQ 3.10.8") or in a bare "4.3"; None where there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups() if part is not None) if match else None
