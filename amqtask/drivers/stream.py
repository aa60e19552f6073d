"""A TCP or TLS stream that never blocks, with a buffer for what goes out and a bell that another thread may ring."""

import contextlib
import math
import os
import select
import socket
import ssl
import sys
import time
from typing import Protocol

from amqtask.core.address import Address, Tls
from amqtask.errors import ConnectionFailed

READ_SIZE = 262_144
FLUSH_SIZE = 65_536
"""How many buffered octets are written without waiting for the next flush."""


def dial(address: Address, deadline: float) -> socket.socket:
    """A connected socket of the address, TLS done, with `deadline` an instant of the monotonic clock.

    The name look-up is the system's and keeps to its own time-out.

    Raises:
        ConnectionFailed: nobody answers there, or the TLS handshake failed; the message says which.
    """
    try:
        candidates = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionFailed(f"cannot reach {address}: the host name {address.host!r} is unknown: {error}") from error
    failure: OSError | None = None
    for number, (family, kind, protocol, _, endpoint) in enumerate(candidates):
        sock = socket.socket(family, kind, protocol)
        try:
            # An address that swallows packets leaves the others their share of the time.
            sock.settimeout(_remaining(deadline) / (len(candidates) - number))
            sock.connect(endpoint)
            tune(sock, address.heartbeat)
            if address.tls:
                sock = _start_tls(sock, address, deadline)
            return sock
        except ConnectionFailed:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            if failure is None or not isinstance(error, ConnectionRefusedError):
                failure = error
    raise ConnectionFailed(f"cannot reach {address}: {_reason(failure, address)}") from failure


def tune(sock: socket.socket, heartbeat: int) -> None:
    """Small writes leave at once; a peer that vanished is noticed by the kernel, also while nothing is polled."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = heartbeat or 60
    for option, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", max(idle // 3, 1)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2 * idle * 1000)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The system's certificate authorities unless `ca_file` names others; TLS 1.2 or later."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _start_tls(sock: socket.socket, address: Address, deadline: float) -> socket.socket:
    tls = address.tls or Tls()
    try:
        context = tls_context(tls)
    except OSError as error:
        files = ", ".join(filter(None, (tls.ca_file, tls.cert_file, tls.key_file)))
        raise ConnectionFailed(f"{address}: cannot use the TLS files {files}: {error}") from error
    sock.settimeout(_remaining(deadline))
    return context.wrap_socket(sock, server_hostname=tls.server_name or address.host)


def _remaining(deadline: float) -> float:
    # A time-out of 0 would make the socket non-blocking.
    return max(deadline - time.monotonic(), 0.001)


def _reason(failure: OSError | None, address: Address) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {failure.verify_message}"
    if isinstance(failure, ssl.SSLError):
        return f"the TLS handshake failed: {failure.reason or failure} (does port {address.port} speak TLS?)"
    if isinstance(failure, TimeoutError):
        return "it did not answer in time"
    return explain(failure) if failure else "the host name has no address"


def explain(error: OSError) -> str:
    """The error in the system's words: eventlet leaves only its symbol in the exception."""
    if error.errno is None or isinstance(error, ssl.SSLError):
        return str(error)
    return os.strerror(error.errno)


class Duplex(Protocol):
    """What a connection is carried by. One thread owns it; only `ring` may be called from others.

    Writing only appends to `out`; `flush` hands it on. `lost` is why the stream can be used no more; the other instants
    are the monotonic clock's.
    """

    out: bytearray
    lost: OSError | None
    last_read: float
    last_write: float

    def flush(self) -> None:
        """Hand on as much of `out` as can be without waiting."""

    def read(self) -> bytes | None:
        """What has arrived: some octets, b"" at the end of the stream, or None when nothing is there."""

    def wait(self, timeout: float) -> bool:
        """Sleep until there is something to do, at most so many seconds; True for a ring."""

    def ring(self) -> None:
        """End the current or next `wait`. Any thread; nothing happens after `close`."""

    def close(self) -> None:
        """Close at once, without a last flush."""


class Stream:
    """A connected socket without blocking, as a Duplex; `flush` hands `out` to the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._rung = False
        self.out = bytearray()
        self.lost: OSError | None = None
        self.last_read = self.last_write = time.monotonic()
        self._waiter = _Waiter(sock, self._bell)

    def flush(self) -> None:
        """Give the kernel as much of `out` as it takes. An error is kept in `lost`, for there may be more to read."""
        out = self.out
        while out and self.lost is None:
            try:
                # A memoryview spares a copy, and must be gone before the buffer shrinks.
                with memoryview(out)[:READ_SIZE] as view:
                    sent = self._sock.send(view)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self.lost = error
                return
            del out[:sent]
            self.last_write = time.monotonic()

    def read(self) -> bytes | None:
        """What has arrived: some octets, b"" at the end of the stream, or None when nothing is there.

        Raises:
            OSError: the stream broke.
        """
        try:
            data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if self.lost is not None:
                raise self.lost from None
            return None
        if data:
            self.last_read = time.monotonic()
        return data

    def wait(self, timeout: float) -> bool:
        """Sleep until there is something to read, room to write what is buffered, or a ring; True for a ring."""
        if self._rung:
            self._quiet()
            return True
        if self._waiter.wait(timeout, writing=bool(self.out)):
            self._quiet()
            return True
        return False

    def ring(self) -> None:
        """End the current or next `wait`. Any thread; nothing happens after `close`."""
        if not self._rung:
            self._rung = True
            # A full pipe rings already, and a closed one has nobody to wake.
            with contextlib.suppress(OSError):
                self._ringer.send(b"\0")

    def close(self) -> None:
        """Close at once, without a last flush."""
        self._waiter.close()
        for sock in (self._sock, self._bell, self._ringer):
            sock.close()

    def _quiet(self) -> None:
        self._rung = False
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(512)


class _Waiter:
    """`poll(2)` where the system and the green-thread library have it, else `select(2)`."""

    def __init__(self, sock: socket.socket, bell: socket.socket) -> None:
        self._sock = sock
        self._bell = bell
        self._bell_number = bell.fileno()
        self._writing = False
        # Looked up here, not at import: eventlet takes poll away when it patches.
        self._poll = select.poll() if hasattr(select, "poll") and sys.platform != "darwin" else None
        if self._poll is not None:
            self._poll.register(sock, select.POLLIN)
            self._poll.register(bell, select.POLLIN)

    def wait(self, timeout: float, *, writing: bool) -> bool:
        if self._poll is None:
            ready, _, _ = select.select(
                [self._sock, self._bell], [self._sock] if writing else [], [self._sock], max(timeout, 0)
            )
            return self._bell in ready
        if writing is not self._writing:
            self._writing = writing
            self._poll.modify(self._sock, select.POLLIN | select.POLLOUT if writing else select.POLLIN)
        events = self._poll.poll(math.ceil(max(timeout, 0) * 1000))
        return any(number == self._bell_number for number, _ in events)

    def close(self) -> None:
        if self._poll is not None:
            self._poll.unregister(self._sock)
            self._poll.unregister(self._bell)
            self._poll = None
