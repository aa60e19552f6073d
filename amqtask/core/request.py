"""A request: a delivery with everything that its headers and properties say; the body is still bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from amqtask.core.message import Delivery, Headers, HeaderValue


@dataclass(slots=True, kw_only=True)
class Request:
    """A task that somebody wants run.

    Times are in UTC, limits are seconds. `headers` holds the sender's own headers only. `protocol` is Celery's message
    protocol, 1 or 2. Not frozen, because that costs a microsecond for each message; nobody changes it all the same.

    `delivery_count` is how often the broker saw a run of the message fail (0 at first), None where it does not count:
    in classic queues, and from 3.12 on at the first delivery. `acquired_count` (4.3) counts unstarted hand-backs, too.
    """

    delivery: Delivery
    id: str
    task: str
    root_id: str
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    retries: int
    eta: datetime | None
    expires: datetime | None
    time_limit: float | None
    soft_time_limit: float | None
    ignore_result: bool | None
    reply_to: str | None
    correlation_id: str | None
    origin: str | None
    shadow: str | None
    argsrepr: str | None
    kwargsrepr: str | None
    replaced_task_nesting: int
    stamped_headers: tuple[str, ...]
    stamps: Mapping[str, HeaderValue]
    headers: Headers
    priority: int | None
    compression: str | None
    crashes: int
    delivery_count: int | None
    acquired_count: int | None
    protocol: int = 2

    @property
    def name(self) -> str:
        """The name to show: the shadow name where the sender gave one."""
        return self.shadow or self.task

    @property
    def redelivered(self) -> bool:
        """The broker has given the message to a consumer before."""
        return self.delivery.redelivered
