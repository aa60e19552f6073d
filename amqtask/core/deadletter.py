"""Dead letters:

what is written on a message whose end is not success, so that people find out why and can send it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from amqtask.core import headers as header
from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.settlement import Death

REASON = "x-aqt-death-reason"
DETAIL = "x-aqt-death-detail"
ERROR = "x-aqt-death-error"
TRACEBACK = "x-aqt-death-traceback"
QUEUE = "x-aqt-death-queue"
EXCHANGE = "x-aqt-death-exchange"
ROUTING_KEY = "x-aqt-death-routing-key"
TIME = "x-aqt-death-time"
NODE = "x-aqt-death-node"

OURS = frozenset({REASON, DETAIL, ERROR, TRACEBACK, QUEUE, EXCHANGE, ROUTING_KEY, TIME, NODE})

# The headers of a message must fit one frame (131,072 octets by RabbitMQ's default); the end of a traceback tells most.
MAX_TRACEBACK = 16_000
MAX_DETAIL = 2_000

_ANEW: Mapping[str, HeaderValue] = {"retries": 0, "eta": None, "expires": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What a dead letter says of itself. The original route is where it came from before it died."""

    reason: str
    detail: str
    error: str
    traceback: str
    queue: str
    exchange: str
    routing_key: str
    time: datetime | None
    node: str


def dead_envelope(delivery: Delivery, death: Death, *, queue: str, node: str, now: datetime) -> Envelope:
    """The message as it goes to the dead letters:

    same id and body, its death in the headers, without a time to live.
    """
    envelope = delivery.envelope
    headers: dict[str, HeaderValue] = {
        name: value for name, value in envelope.headers.items() if name not in header.BROKER_HEADERS
    }
    headers |= {
        REASON: death.reason,
        DETAIL: death.detail[:MAX_DETAIL],
        ERROR: death.error_type,
        TRACEBACK: death.traceback[-MAX_TRACEBACK:],
        QUEUE: queue,
        EXCHANGE: delivery.exchange,
        ROUTING_KEY: delivery.routing_key,
        TIME: now,
        NODE: node,
    }
    return replace(envelope, headers=headers, expiration=None, user_id=None)


def read_dead_letter(envelope: Envelope) -> DeadLetter:
    """What the headers of a dead letter say: ours, else those that the broker wrote when it dead-lettered by itself."""
    headers = envelope.headers
    if REASON in headers:
        time = headers.get(TIME)
        return DeadLetter(
            reason=_text(headers.get(REASON)),
            detail=_text(headers.get(DETAIL)),
            error=_text(headers.get(ERROR)),
            traceback=_text(headers.get(TRACEBACK)),
            queue=_text(headers.get(QUEUE)),
            exchange=_text(headers.get(EXCHANGE)),
            routing_key=_text(headers.get(ROUTING_KEY)),
            time=time if isinstance(time, datetime) else None,
            node=_text(headers.get(NODE)),
        )
    deaths = headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else {}
    entry = last if isinstance(last, dict) else {}
    keys = entry.get("routing-keys")
    time = entry.get("time")
    return DeadLetter(
        reason=_text(entry.get("reason")) or "unknown",
        detail="dead-lettered by the broker",
        error="",
        traceback="",
        queue=_text(entry.get("queue")),
        exchange=_text(entry.get("exchange")),
        routing_key=_text(keys[0]) if isinstance(keys, list) and keys else "",
        time=time if isinstance(time, datetime) else None,
        node="",
    )


def revived_envelope(envelope: Envelope) -> Envelope:
    """The message without the marks of its death, to be sent again: due now, with all its retries."""
    # The crashes, too: whoever sends it again has mended something.
    gone = OURS | header.BROKER_HEADERS | {header.CRASHES, header.CRASHED_ON}
    headers = {name: value for name, value in envelope.headers.items() if name not in gone}
    headers |= {name: value for name, value in _ANEW.items() if name in headers}
    return replace(envelope, headers=headers, expiration=None, user_id=None)


def _text(value: HeaderValue) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
