"""Pulse: a node's signs of life. A participant of the agent's session."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

from amqtask.clock import Clock
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError
from amqtask.events.model import envelope, exchange, routing_key
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("events")


def utc_offset() -> int:
    """Hours west of UTC, as Celery counts them."""
    seconds = time.altzone if time.localtime().tm_isdst > 0 else time.timezone
    return seconds // 3600


class Pulse(QuietSink):
    """Sends worker-online, -heartbeat and -offline. Everything belongs to the session's thread."""

    def __init__(
        self,
        *,
        node: str,
        exchange: str,
        every: float,
        clock: Clock,
        version: str,
        load: Callable[[], tuple[int, int]],
        on: bool,
    ) -> None:
        """`load` tells how much is executed and how much was; `every` is seconds."""
        self._node = node
        self._exchange = exchange
        self._every = max(0.1, every)
        self._clock = clock
        self._version = version
        self._load = load
        self._on = on
        self._due = 0.0
        self._greeted = False
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._time = 0

    def switch(self, on: bool) -> None:
        """Send signs of life, or none."""
        self._on = on
        self._due = 0.0

    def beat(self) -> None:
        """Send one now."""
        self._send("worker-heartbeat")

    def farewell(self) -> None:
        """The node goes."""
        if self._on and self._greeted:
            self._send("worker-offline")
        self._on = False

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._channel = None
        self._due = 0.0

    def lost(self, error: BrokerError) -> None:
        self._connection = self._channel = None
        self._greeted = False

    def turn(self, now: float) -> float:
        if not self._on or self._connection is None:
            return NEVER
        if now >= self._due:
            self._due = now + self._every
            self._send("worker-heartbeat" if self._greeted else "worker-online")
            self._greeted = True
        return self._due

    def closed(self, error: BrokerError) -> None:
        logger.warning("signs of life are refused: %s", error, extra=event("pulse-refused"))
        self._channel = None

    def _send(self, kind: str) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._channel is None:
            self._channel = connection.channel(self, confirms=False)
            self._channel.declare(exchange(self._exchange))
        active, processed = self._load()
        self._time += 1
        sign: dict[str, Any] = {
            "type": kind,
            "hostname": self._node,
            "timestamp": self._clock.time(),
            "pid": os.getpid(),
            "clock": self._time,
            "utcoffset": utc_offset(),
            "freq": self._every,
            "active": active,
            "processed": processed,
            "loadavg": [round(value, 2) for value in os.getloadavg()],
            "sw_ident": "amqtask",
            "sw_ver": self._version,
            "sw_sys": platform.system(),
        }
        self._channel.publish(envelope(sign, self._node), self._exchange, routing_key(kind), mandatory=False)
