"""The differences between RabbitMQ's versions, as data.

Measured on 3.10.8, 4.0.5 and 4.3.6 or read from release notes and source; docs/devbroker.md lists where each is seen.
"""

import enum
from dataclasses import dataclass, replace

MIB = 1024 * 1024
LOST = "lost"
"""In `redelivering_deaths`: over its delivery limit because a channel was lost."""
NACKED = "nacked"
"""In `redelivering_deaths`: rejected by basic.nack rather than by basic.reject."""


class Counting(enum.Enum):
    """Which headers a quorum queue puts on a delivery, and what counts toward the delivery limit."""

    FROM_ZERO = "as REDELIVERED, and basic.get gives x-delivery-count 0 with the first delivery"
    REDELIVERED = "x-delivery-count from the second delivery on; every requeue counts"
    ACQUIRED = "x-acquired-count counts every requeue, x-delivery-count and the limit only failures"


class Priorities(enum.Enum):
    """How a quorum queue orders priorities."""

    IGNORED = "first in, first out"
    TWO_LEVELS = "above 4 is high; two high ones, then a normal one"
    STRICT = "32 levels, unset is 4"


class GlobalQos(enum.Enum):
    PER_CHANNEL = "one window for all consumers of the channel"
    PER_CONSUMER = "as if global had not been set"


class ConsumerTimeout(enum.Enum):
    CLOSES_CHANNEL = "looked for once a minute, on every kind of queue"
    CANCELS_CONSUMER = "to the millisecond, on quorum queues only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one version of RabbitMQ behaves where versions differ.

    A dead letter of a quorum queue arrives in the next one as if it had been delivered there already, with a count of
    1, if it died for one of `redelivering_deaths`; in some versions a classic queue calls it redelivered too.
    """

    name: str
    version: str
    counting: Counting
    priorities: Priorities
    global_qos: GlobalQos
    consumer_timeout: ConsumerTimeout
    default_delivery_limit: int | None
    negative_limit_is_none: bool
    returns_to_back_without_limit: bool
    sac_by_priority: bool
    delayed_retry: bool
    queue_consumer_timeout: bool
    reply_counts_as_routed: bool
    numbers_replies: bool
    streams_set_delivery_mode: bool
    streams_take_refusals: bool
    streams_keep_annotations: bool
    reads_x_death: bool
    last_death_headers: bool
    keeps_cc_of_dead_letters: bool
    redelivering_deaths: frozenset[str]
    classic_shows_redelivering_deaths: bool
    local_random_exchange: bool
    topic_hash_max: int | None
    max_message_size: int
    min_frame_max: int
    queue_versions: frozenset[int]
    denied_queue_arguments: frozenset[str]


_V3_10 = Profile(
    name="3.10",
    version="3.10.8",
    counting=Counting.FROM_ZERO,
    priorities=Priorities.IGNORED,
    global_qos=GlobalQos.PER_CHANNEL,
    consumer_timeout=ConsumerTimeout.CLOSES_CHANNEL,
    default_delivery_limit=None,
    negative_limit_is_none=False,
    returns_to_back_without_limit=True,
    sac_by_priority=False,
    delayed_retry=False,
    queue_consumer_timeout=False,
    reply_counts_as_routed=False,
    numbers_replies=False,
    streams_set_delivery_mode=False,
    streams_take_refusals=False,
    streams_keep_annotations=False,
    reads_x_death=True,
    last_death_headers=False,
    keeps_cc_of_dead_letters=False,
    redelivering_deaths=frozenset(),
    classic_shows_redelivering_deaths=False,
    local_random_exchange=False,
    topic_hash_max=None,
    max_message_size=128 * MIB,
    min_frame_max=4096,
    queue_versions=frozenset({1, 2}),
    denied_queue_arguments=frozenset(),
)
_V3_13 = replace(
    _V3_10,
    name="3.13",
    version="3.13.7",
    counting=Counting.REDELIVERED,
    queue_consumer_timeout=True,
    last_death_headers=True,
    keeps_cc_of_dead_letters=True,
)
_V4_0 = replace(
    _V3_13,
    name="4.0",
    version="4.0.5",
    priorities=Priorities.TWO_LEVELS,
    default_delivery_limit=20,
    negative_limit_is_none=True,
    streams_set_delivery_mode=True,
    streams_take_refusals=True,
    streams_keep_annotations=True,
    returns_to_back_without_limit=False,
    sac_by_priority=True,
    reads_x_death=False,
    redelivering_deaths=frozenset({"rejected", NACKED, LOST}),
    local_random_exchange=True,
    max_message_size=16 * MIB,
    queue_versions=frozenset({1, 2}),
)
_V4_3 = replace(
    _V4_0,
    name="4.3",
    version="4.3.6",
    counting=Counting.ACQUIRED,
    priorities=Priorities.STRICT,
    global_qos=GlobalQos.PER_CONSUMER,
    consumer_timeout=ConsumerTimeout.CANCELS_CONSUMER,
    delayed_retry=True,
    redelivering_deaths=frozenset({"rejected", "delivery_limit", LOST}),
    classic_shows_redelivering_deaths=True,
    reply_counts_as_routed=True,
    numbers_replies=True,
    topic_hash_max=2,
    min_frame_max=8192,
    queue_versions=frozenset({2}),
    denied_queue_arguments=frozenset({"x-queue-master-locator"}),
)

PROFILES = {profile.name: profile for profile in (_V3_10, _V3_13, _V4_0, _V4_3)}
DEFAULT = "4.3"


def profile(name: str) -> Profile:
    """The profile of a version ("4.0"). Raises ValueError with those that exist."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"no RabbitMQ {name!r} to emulate; there are {', '.join(PROFILES)}") from None
