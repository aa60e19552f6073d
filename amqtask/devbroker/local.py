"""LocalBroker: a broker for the threads of this process, without a socket and without a thread of its own.

with LocalBroker("shop") as broker:
    link = broker.open(wake)               # a client's end: bytes in, bytes out, no waiting
    link.send(b"AMQP\\x00\\x00\\x09\\x01")
    link.take()                            # b"\\x01\\x00\\x00..."; None while there is nothing, b"" at the end
    broker.advance(8 * 365 * 86400)

What falls due falls due when somebody looks: every client looks again after `pause()` seconds.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self, TypeVar
from urllib.parse import quote

from amqtask.devbroker.broker import MEMORY_WATERMARK, Broker
from amqtask.devbroker.connection import Connection
from amqtask.devbroker.emulate import DEFAULT
from amqtask.devbroker.errors import connection_forced

T = TypeVar("T")

SCHEME = "memory"
USER = PASSWORD = "guest"

_named: dict[str, "LocalBroker"] = {}


class LocalBroker:
    """A broker that any thread of this process may use, and no other process. A context manager.

    `name` is its own in this process; `url` is what its clients are given. `now` is the time to begin with, in seconds
    since the epoch; the machine's by default.

    Raises:
        ValueError: there is a broker of this name already, or the name is empty.
    """

    def __init__(
        self,
        name: str,
        *,
        now: float | None = None,
        vhosts: Iterable[str] = ("/",),
        emulate: str = DEFAULT,
        memory_watermark: int = MEMORY_WATERMARK,
    ) -> None:
        if not name or name in _named:
            raise ValueError(f"there is a broker named {name!r} already" if name else "a broker needs a name")
        self.name = name
        self._pid = os.getpid()
        self._offset = 0.0 if now is None else now - time.time()
        self._broker = Broker(now=self.time(), emulate=emulate, vhosts=vhosts, memory_watermark=memory_watermark)
        # Reentrant: what is called with the broker may look at the time, or advance it.
        self._lock = threading.RLock()
        self._links: set[Link] = set()
        self._woken: set[Link] = set()
        _named[name] = self

    @property
    def url(self) -> str:
        """`memory://name/`"""
        return f"{SCHEME}://{quote(self.name, safe='')}/"

    @property
    def offset(self) -> float:
        """Seconds by which its clock is ahead of the machine's."""
        return self._offset

    def time(self) -> float:
        """The broker's time, in seconds since the epoch."""
        return time.time() + self._offset

    def call(self, action: Callable[[Broker], T]) -> T:
        """Run `action` on the broker while nobody else does, and give back what it returns."""
        with self._lock:
            self._broker.advance(self.time())
            result = action(self._broker)
            self._settle()
            return result

    def advance(self, seconds: float) -> None:
        """Turn the broker's clock forward, and let every client look at it."""
        with self._lock:
            self._offset += seconds
            self._broker.advance(self.time())
            self._settle()
            for link in self._links:
                link.time_passed()

    def pause(self) -> float:
        """Seconds until the broker has something to do by itself; infinite while it has not."""
        with self._lock:
            deadline = self._broker.next_deadline()
        return float("inf") if deadline is None else max(0.0, deadline - self.time())

    def open(
        self, wake: Callable[[], None], time_passed: Callable[[], None] | None = None, *, name: str = ""
    ) -> "Link":
        """A client's end. `wake` is called when there is something to take, on any thread; it must not wait.

        `time_passed` is called after `advance`, for clients that go by the same clock; `wake` by default.

        Raises:
            LookupError: the broker is closed.
        """
        with self._lock:
            if _named.get(self.name) is not self:
                raise LookupError(f"the broker {self.name!r} is closed")
            link = Link(self, wake, time_passed or wake, name)
            self._links.add(link)
            return link

    def close(self) -> None:
        """Close every connection with 320, as a shutdown does; idempotent."""
        with self._lock:
            if _named.get(self.name) is self:
                del _named[self.name]
            for link in list(self._links):
                link.connection.close(connection_forced("broker forced connection closure with reason 'shutdown'"))
            self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _settle(self) -> None:
        """Commit, confirm, and tell those who have something to take; publishers that were stopped go on."""
        self._broker.flush()
        while self._woken:
            link = self._woken.pop()
            if link.goes_on():
                self._broker.flush()
            link.wake()


class Link:
    """A client's end of a connection; one thread at a time uses it."""

    def __init__(
        self, local: LocalBroker, wake: Callable[[], None], time_passed: Callable[[], None], name: str
    ) -> None:
        self.wake = wake
        self.time_passed = time_passed
        self._local = local
        self._is_reading = True
        self.connection = Connection(local._broker, _login, lambda: local._woken.add(self), name=name)

    def send(self, data: bytes) -> None:
        """Give the broker what the client says; its answer is there when this returns."""
        self._local.call(lambda broker: self.connection.receive(data))

    def take(self) -> bytes | None:
        """What the broker says, None while it says nothing, b"" when it has hung up."""
        return self._local.call(self._take)

    def goes_on(self) -> bool:
        """Whether what an alarm had stopped is taken in now."""
        was_reading, self._is_reading = self._is_reading, self.connection.is_reading
        if was_reading or not self._is_reading:
            return False
        self.connection.receive(b"")
        return True

    def close(self) -> None:
        """The client is gone, with or without a word."""
        self._local.call(lambda broker: self.connection.lost())
        self._local._links.discard(self)

    def _take(self, broker: Broker) -> bytes | None:
        output = self.connection.take()
        if output:
            self.connection.drained()
        elif not self.connection.is_done:
            return None
        return output


def find_local(name: str) -> LocalBroker:
    """The broker of this name.

    Raises:
        LookupError: there is none in this process; the message says which there are.
    """
    found = _named.get(name)
    if found is None:
        known = ", ".join(sorted(_named)) or "none at all"
        raise LookupError(f"there is no broker {name!r} in this process (there is {known})")
    if found._pid != os.getpid():
        raise LookupError(f"the broker {name!r} is one of process {found._pid}, and this is another process")
    return found


def _login(user: str, password: str) -> bool:
    return user == USER and password == PASSWORD
