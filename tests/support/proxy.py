"""A TCP proxy between a client and a broker that can cut, stall, slow down and swallow what goes through it."""

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

CHUNK = 65_536

ACK = b"\x00\x00\x00\x0d\x00\x3c\x00\x50"
"""What a frame with `basic.ack` holds after its channel: its size, class and method. A confirm is one, too."""


class Proxy:
    """Forwards every connection to `host:port`; a context manager. All methods may be called at any time.

    What is asked for holds for all open connections and for those to come, until `heal`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._state = threading.Condition()
        self._links: list[_Link] = []
        self.from_client = 0
        """How many octets clients have sent."""
        self._stalled = False
        self._deafened = False
        self._muted = False
        self._trap: tuple[bytes, bool] | None = None
        self._trapped: set[socket.socket] = set()
        self._swallowing = False
        self._rate: float | None = None
        self._budgets: dict[bool, int] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections go through now."""
        with self._state:
            return len(self._links)

    def cut(self) -> None:
        """Reset all connections, as a router that restarts does."""
        with self._state:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def cut_after(self, octets: int, *, from_broker: bool = True) -> None:
        """Reset everything once this many more octets came from that side: in the middle of a frame, if need be."""
        with self._state:
            self._budgets[from_broker] = octets

    def stall(self) -> None:
        """Keep connections open and forward nothing: a half-open connection. Nothing is lost, it waits."""
        with self._state:
            self._stalled = True

    def deafen(self) -> None:
        """Keep from clients what the broker says; what they say goes on."""
        with self._state:
            self._deafened = True

    def mute(self) -> None:
        """Keep from the broker what clients say; what it says goes on."""
        with self._state:
            self._muted = True

    def stall_at(self, octets: bytes, *, from_broker: bool) -> None:
        """From these octets on, forward nothing more in that direction of the connection on which they come."""
        with self._state:
            self._trap = (octets, from_broker)

    @property
    def trapped(self) -> bool:
        """Whether the octets of `stall_at` came."""
        with self._state:
            return bool(self._trapped)

    def swallow(self) -> None:
        """Read from both sides and throw it away, as when a peer is gone without a word."""
        with self._state:
            self._swallowing = True

    def slow_down(self, octets_per_second: float) -> None:
        """Forward no more than so much in each direction of each connection."""
        with self._state:
            self._rate = octets_per_second

    def heal(self) -> None:
        """Forward as at the beginning."""
        with self._state:
            self._stalled = self._deafened = self._muted = self._swallowing = False
            self._rate = self._trap = None
            self._budgets.clear()
            self._trapped.clear()
            self._state.notify_all()

    def close(self) -> None:
        """Cut everything and listen no more."""
        with self._state:
            self._closed = True
            self._stalled = self._deafened = self._muted = False
            self._trap = None
            self._trapped.clear()
            self._state.notify_all()
        # Green threads are not woken by a shutdown of the listener, but by a caller.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            try:
                server = socket.create_connection(self._target, 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            link = _Link(client, server)
            with self._state:
                self._links.append(link)
            for source, sink, from_broker in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(link, source, sink, from_broker), daemon=True).start()

    def _pump(self, link: "_Link", source: socket.socket, sink: socket.socket, from_broker: bool) -> None:
        # eventlet raises EOFError where a socket is closed by somebody else.
        with contextlib.suppress(OSError, EOFError):
            while data := source.recv(CHUNK):
                self._forward(data, sink, from_broker)
        with self._state:
            if link in self._links:
                self._links.remove(link)
        link.close()

    def _forward(self, data: bytes, sink: socket.socket, from_broker: bool) -> None:
        with self._state:
            if not from_broker:
                self.from_client += len(data)
            if self._trap is not None and self._trap[1] == from_broker and self._trap[0] in data:
                self._trapped.add(sink)
            self._state.wait_for(lambda: not (self._stalled or self._is_closed(from_broker) or sink in self._trapped))
            swallowing, rate = self._swallowing, self._rate
            cutting = False
            if from_broker in self._budgets:
                data = data[: self._budgets[from_broker]]
                self._budgets[from_broker] -= len(data)
                cutting = self._budgets[from_broker] <= 0
        if swallowing:
            return
        if rate is None:
            sink.sendall(data)
        else:
            step = max(int(rate / 20), 1)
            for start in range(0, len(data), step):
                sink.sendall(data[start : start + step])
                time.sleep(step / rate)
        if cutting:
            self.cut()

    def _is_closed(self, from_broker: bool) -> bool:
        """Whether nothing goes in that direction."""
        return self._deafened if from_broker else self._muted


class _Link:
    """Both sockets of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)

    def reset(self) -> None:
        for sock in self._sockets:
            # With a linger time of zero, closing sends a reset.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        for sock in self._sockets:
            # The shutdown wakes the pump that reads from it; a bare close would not.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
