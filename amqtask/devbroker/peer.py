"""Peer: one client's socket."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

from amqtask.devbroker.connection import Connection, Phase

HANDSHAKE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 10.0
WRITE_BUFFER = 256 * 1024


class Host(Protocol):
    """The server as a socket sees it."""

    def connected(self, peer: "Peer") -> Connection: ...
    def disconnected(self, peer: "Peer") -> None: ...
    def wake(self, peer: "Peer") -> None: ...
    def tick(self) -> None: ...
    def schedule_flush(self) -> None: ...


class Peer(asyncio.Protocol):
    """Carries bytes between a socket and a `Connection`, and keeps the heartbeat."""

    def __init__(self, host: Host) -> None:
        self.name = ""
        self.connection: Connection
        self._host = host
        self._transport: asyncio.Transport
        self._is_stalled = False
        self._is_reading = True
        self._phase = Phase.HEADER
        self._heard_at = time.monotonic()
        self._watch: asyncio.TimerHandle | None = None

    # From asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        there = transport.get_extra_info("peername") or ("?", 0)
        here = transport.get_extra_info("sockname") or ("?", 0)
        self.name = f"{there[0]}:{there[1]} -> {here[0]}:{here[1]}"
        self.connection = self._host.connected(self)
        self._watch_for(HANDSHAKE_TIMEOUT, self.abort)

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        self._host.tick()
        self.connection.receive(data)
        self._host.schedule_flush()

    def pause_writing(self) -> None:
        self._is_stalled = True
        self.connection.stalled()

    def resume_writing(self) -> None:
        self._is_stalled = False
        self._host.tick()
        self.connection.drained()
        self._host.wake(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._host.disconnected(self)

    # From the server.

    def flush(self) -> None:
        """Send what the connection has to say, and read on if it may."""
        if self._transport.is_closing():
            return
        output = self.connection.take()
        if output:
            self._transport.write(output)
        if not self._is_stalled:
            self.connection.drained()
        if self.connection.is_done:
            self._transport.close()
        elif self.connection.is_reading is not self._is_reading:
            self._turn_reading()
        if self.connection.phase is not self._phase:
            self._phase = self.connection.phase
            if self._phase is Phase.RUNNING:
                self._schedule_beat()
            elif self._phase is Phase.CLOSING:
                self._watch_for(CLOSE_TIMEOUT, self.abort)

    def hang_up(self) -> None:
        """Close the socket; what was sent can still be read."""
        self._transport.close()

    def abort(self) -> None:
        """Drop the socket."""
        self._transport.abort()

    def _turn_reading(self) -> None:
        self._is_reading = self.connection.is_reading
        if self._is_reading:
            self._heard_at = time.monotonic()
            self._transport.resume_reading()
            self.connection.receive(b"")
            self._host.schedule_flush()
        else:
            self._transport.pause_reading()

    # Clients that say nothing.

    def _watch_for(self, seconds: float, action: Callable[[], None]) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(seconds, action)

    def _schedule_beat(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self.connection.heartbeat:
            self._watch_for(self.connection.heartbeat / 2, self._beat)

    def _beat(self) -> None:
        silence = time.monotonic() - self._heard_at
        if self._is_reading and silence > 2 * self.connection.heartbeat:
            self.abort()
            return
        if not self._is_stalled:
            self.connection.beat()
        self._schedule_beat()
