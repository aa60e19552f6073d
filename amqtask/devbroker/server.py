"""Server: a broker on a socket, in a thread of its own.

with Server(port=0) as server:
    pika.BlockingConnection(pika.URLParameters(server.url))
    server.call(lambda broker: broker.messages("hello"))
    server.advance(8 * 365 * 86400)
"""

import asyncio
import concurrent.futures
import hmac
import ipaddress
import pathlib
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

from amqtask.devbroker.broker import MEMORY_WATERMARK, Broker
from amqtask.devbroker.connection import Connection
from amqtask.devbroker.emulate import DEFAULT
from amqtask.devbroker.errors import connection_forced
from amqtask.devbroker.faultpage import FaultPage
from amqtask.devbroker.peer import Peer
from amqtask.devbroker.store import Store

T = TypeVar("T")

START_TIMEOUT = 30.0
STOP_TIMEOUT = 2.0
"""Seconds that clients have to answer the close at a shutdown."""
TIMER_MAX = 3600.0
BACKLOG = 1024


class Server:
    """A broker that listens.

    `data` is a folder: with it durable things outlive the process. `faults_port` serves the page for faults on
    loopback. Raises ValueError when it is to listen elsewhere than on loopback without a password of its own, OSError
    from `start` when it cannot listen.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        user: str = "guest",
        password: str = "guest",
        vhosts: Iterable[str] = ("/",),
        emulate: str = DEFAULT,
        data: pathlib.Path | None = None,
        faults_port: int | None = None,
        memory_watermark: int = MEMORY_WATERMARK,
    ) -> None:
        if password == "guest" and not _is_loopback(host):
            raise ValueError(f"listening on {host} needs a password: this broker is open to whoever reaches it")
        self.host = host
        self.port = port
        self.faults_port = faults_port
        self._user = user
        self._password = password
        self._offset = 0.0
        self._store = Store.open(data) if data is not None else None
        self.broker = Broker(
            now=time.time(), emulate=emulate, vhosts=vhosts, journal=self._store, memory_watermark=memory_watermark
        )
        if self._store is not None:
            self._store.restore(self.broker)
        self._peers: set[Peer] = set()
        self._woken: set[Peer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._stopping: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_is_due = False

    # From any thread.

    @property
    def url(self) -> str:
        """`amqp://guest:guest@127.0.0.1:port/%2F`"""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"amqp://{quote(self._user, safe='')}:{quote(self._password, safe='')}@{host}:{self.port}/%2F"

    def start(self) -> None:
        """Listen; `port` and `faults_port` are then what they really are."""
        self._thread = threading.Thread(target=self._run, name="devbroker", daemon=True)
        self._thread.start()
        self._started.result(START_TIMEOUT)

    def stop(self) -> None:
        """Close every connection with 320, as a shutdown does, and end the thread."""
        if self._thread is None or self._loop is None:
            return
        if self._thread.is_alive() and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def call(self, action: Callable[[Broker], T]) -> T:
        """Run `action` on the broker in the server's thread and give back what it returns, or raise what it raises."""
        if self._loop is None or self._thread is None:
            raise RuntimeError("the server is not running")
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(self._act, action, done)
        return done.result()

    def advance(self, seconds: float) -> None:
        """Turn the broker's clock forward. Heartbeats and sockets keep to the real one."""
        self.call(lambda broker: self.turn_clock(seconds))

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # In the server's thread.

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            if self._store is not None:
                self._store.close()
            if not self._started.done():
                self._started.set_exception(RuntimeError("the server ended while it started"))

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            listener = await loop.create_server(self._accept, self.host, self.port, backlog=BACKLOG)
            page = await FaultPage.serve(self, self.faults_port) if self.faults_port is not None else None
        except OSError as error:
            self._started.set_exception(error)
            return
        self.port = listener.sockets[0].getsockname()[1]
        if page is not None:
            self.faults_port = page.port
        self._arm_timer()
        self._started.set_result(None)
        await self._stopping.wait()
        listener.close()
        if page is not None:
            await page.close()
        await self._close_peers()

    async def _close_peers(self) -> None:
        for peer in list(self._peers):
            peer.connection.close(connection_forced("broker forced connection closure with reason 'shutdown'"))
        self._flush()
        deadline = time.monotonic() + STOP_TIMEOUT
        while self._peers and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for peer in list(self._peers):
            peer.hang_up()
        # Once round the loop for the sockets to be closed.
        await asyncio.sleep(0)

    def _accept(self) -> Peer:
        return Peer(self)

    def connected(self, peer: Peer) -> Connection:
        """A client has connected."""
        self._peers.add(peer)
        return Connection(self.broker, self._login, lambda: self.wake(peer), name=peer.name)

    def disconnected(self, peer: Peer) -> None:
        """Its socket is closed."""
        self._peers.discard(peer)
        self.tick()
        peer.connection.lost()
        self.schedule_flush()

    def wake(self, peer: Peer) -> None:
        """`peer` has something to send or may be read again: soon, together with all others."""
        self._woken.add(peer)
        self.schedule_flush()

    def tick(self) -> None:
        """Tell the broker the time."""
        self.broker.advance(time.time() + self._offset)

    def turn_clock(self, seconds: float) -> None:
        """As `advance`, from within the server's thread."""
        self._offset += seconds
        self.tick()

    def _login(self, user: str, password: str) -> bool:
        right_user = hmac.compare_digest(user.encode("utf-8", "replace"), self._user.encode())
        return hmac.compare_digest(password.encode("utf-8", "replace"), self._password.encode()) and right_user

    def schedule_flush(self) -> None:
        """Commit, confirm and send when all that has arrived by now is taken in."""
        if not self._flush_is_due and self._loop is not None:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self.broker.flush()
        woken, self._woken = self._woken, set()
        for peer in woken:
            peer.flush()
        self._arm_timer()

    def _arm_timer(self) -> None:
        deadline = self.broker.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._loop is not None:
            pause = deadline - time.time() - self._offset
            self._timer = self._loop.call_later(min(max(pause, 0.0), TIMER_MAX), self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        self.tick()
        self.schedule_flush()

    def _act(self, action: Callable[[Broker], T], done: "concurrent.futures.Future[T]") -> None:
        try:
            self.tick()
            done.set_result(action(self.broker))
        except BaseException as error:  # noqa: BLE001 (it is raised where the result is asked for)
            done.set_exception(error)
        self.schedule_flush()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
