"""A pipe between the supervisor and a process: JSON objects, one a line, over a socket that may carry file descriptors.

Only processes that amqtask started hold an end, so what comes is trusted; it is data all the same, never code.
"""

import array
import json
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

Note = dict[str, Any]

_MAX_DESCRIPTORS = 8


class Pipe:
    """One end. Sending is safe from any thread; one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""
        self._descriptors: list[int] = []
        self._sending = threading.Lock()

    @classmethod
    def pair(cls) -> "tuple[Pipe, socket.socket]":
        """A pipe and the raw socket of its other end, for the process that is going to be started."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def send(self, note: Note, descriptors: Sequence[int] = ()) -> bool:
        """Send a note; False when the other end is gone."""
        data = json.dumps(note, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            try:
                if descriptors:
                    rights = array.array("i", descriptors)
                    sent = self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                    data = data[sent:]
                if data:
                    self._socket.sendall(data)
            except OSError:
                return False
        return True

    def receive(self) -> Note | None:
        """Wait for the next note; None when the other end is gone."""
        while b"\n" not in self._buffer:
            # eventlet's sockets do not wait in recvmsg; everything waits in select.
            select.select([self._socket], [], [])
            if not self._read():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        note: Note = json.loads(line)
        return note

    def ready(self) -> Iterator[Note | None]:
        """The notes that are there once the socket is readable; a None when the other end is gone."""
        alive = self._read()
        yield from self.buffered()
        if not alive:
            yield None

    def rest(self) -> Iterator[Note]:
        """What the other end wrote before its process ended. Waits for nothing: others may hold that end open."""
        while select.select([self._socket], [], [], 0)[0] and self._read():
            continue
        yield from self.buffered()

    def buffered(self) -> Iterator[Note]:
        """The notes that came together with one that was received: the socket does not tell of them any more."""
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            yield json.loads(line)

    def take_descriptors(self, count: int) -> list[int]:
        """The file descriptors that came with the oldest note whose are not taken yet."""
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self) -> bool:
        space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(65536, space)
        except OSError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                rights = array.array("i")
                rights.frombytes(content[: len(content) - len(content) % rights.itemsize])
                self._descriptors.extend(rights)
        self._buffer += data
        return bool(data)
