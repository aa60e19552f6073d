"""Queue view: how full queues are, by AMQP alone, and more where the management API can be asked."""

import base64
import http.client
import json
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from amqtask.core.declare import DeclareQueue
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import ChannelClosed, ResourceLocked

TIMEOUT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A queue now. Counts are messages, rates messages a second; None is what nobody said."""

    name: str
    type: str = "?"
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    state: str = "ok"
    dead: int | None = None
    """How many messages its dead-letter queue holds."""


def look(connection: Connection, names: Iterable[str]) -> dict[str, QueueView]:
    """Ready messages and consumers of queues, by passive declares; what is missing or exclusive says so."""
    found = {}
    for name in names:
        channel = connection.channel(QuietSink(), confirms=False)
        try:
            info = channel.declare(DeclareQueue(name=name, passive=True))
        except ResourceLocked:
            found[name] = QueueView(name=name, state="exclusive")
            continue
        except ChannelClosed as error:
            found[name] = QueueView(name=name, state="missing" if error.code == 404 else str(error.text or error))
            continue
        channel.close()
        assert info is not None, "a queue was asked for"
        found[name] = QueueView(name=name, ready=info.messages, consumers=info.consumers)
    return found


def ask_management(url: str, vhost: str) -> dict[str, QueueView]:
    """All queues of a virtual host, as RabbitMQ's management API knows them.

    Raises:
        OSError: it does not answer, or not as it should.
    """
    parts = urllib.parse.urlsplit(url)
    host = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 15672)}"
    place = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/api/queues/{urllib.parse.quote(vhost, safe='')}"
    request = urllib.request.Request(place)
    login = f"{urllib.parse.unquote(parts.username or 'guest')}:{urllib.parse.unquote(parts.password or 'guest')}"
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            content = json.load(response)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"what answers on {host} is not the management API: {error}") from error
    if not isinstance(content, list):
        raise OSError("the management API said something else than a list of queues")
    return {item["name"]: _view(item) for item in content if isinstance(item, dict) and "name" in item}


def _view(item: Mapping[str, Any]) -> QueueView:
    stats = item.get("message_stats") or {}
    return QueueView(
        name=item["name"],
        type=item.get("type") or item.get("arguments", {}).get("x-queue-type") or "classic",
        ready=item.get("messages_ready"),
        unacked=item.get("messages_unacknowledged"),
        consumers=item.get("consumers"),
        rate_in=_rate(stats, "publish_details"),
        rate_out=_rate(stats, "deliver_get_details"),
        state="ok" if item.get("state") in (None, "running") else str(item["state"]),
    )


def _rate(stats: Mapping[str, Any], name: str) -> float | None:
    value = (stats.get(name) or {}).get("rate")
    return float(value) if isinstance(value, (int, float)) else None
