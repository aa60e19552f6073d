"""The driver without a socket: a broker in this process, by name (`memory://NAME/vhost`), for tests.

The client is pika's, byte for byte as on a socket; only what carries the bytes is another. They are exchanged within
calls, on the caller's thread, and nobody but the caller's `poll` runs a sink.
"""

import threading
import time
from dataclasses import replace

from amqtask.core.address import Address
from amqtask.devbroker.local import LocalBroker, find_local
from amqtask.drivers.pika import PikaConnection
from amqtask.errors import VhostUnavailable


class MemoryDriver:
    """`amqtask.drivers.base.Driver` to brokers in this process."""

    def connect(self, address: Address, timeout: float) -> PikaConnection:
        try:
            broker = find_local(address.host)
            stream = MemoryStream(broker, address.name)
        except LookupError as error:
            # As of a virtual host that is not there: it will not come by itself, so nobody tries again and again.
            raise VhostUnavailable(f"cannot reach {address}: {error.args[0]}") from error
        # Neither end can vanish without the other, so nobody needs signs of life.
        connection = PikaConnection(replace(address, heartbeat=0), stream)
        try:
            connection.open(time.monotonic() + timeout, timeout)
        except BaseException:
            stream.close()
            raise
        return connection


class MemoryStream:
    """`amqtask.drivers.stream.Duplex` between a client and a LocalBroker."""

    def __init__(self, broker: LocalBroker, name: str) -> None:
        self._broker = broker
        self._event = threading.Event()
        self._rung = False
        self._link = broker.open(self._event.set, self.ring, name=name)
        self.out = bytearray()
        self.lost: OSError | None = None
        self.last_read = self.last_write = time.monotonic()

    def flush(self) -> None:
        """Hand over all of `out`."""
        if self.out:
            data = bytes(self.out)
            self.out.clear()
            self._link.send(data)

    def read(self) -> bytes | None:
        """What the broker said: some octets, b"" when it hung up, or None when it said nothing."""
        return self._link.take()

    def wait(self, timeout: float) -> bool:
        """Sleep until there may be something to read, or a ring; True for a ring."""
        if not self._rung:
            self._event.wait(max(0.0, min(timeout, self._broker.pause())))
        # Before the next read, so that what comes during it is not forgotten.
        self._event.clear()
        if not self._rung:
            return False
        self._rung = False
        return True

    def ring(self) -> None:
        """End the current or next `wait`. Any thread; nothing happens after `close`."""
        self._rung = True
        self._event.set()

    def close(self) -> None:
        """Hang up."""
        self._link.close()
