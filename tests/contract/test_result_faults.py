"""Result backends while brokers, stores and connections fail under them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from amqtask.core.address import parse_url
from amqtask.core.declare import DeleteQueue
from amqtask.drivers.base import QuietSink
from amqtask.drivers.pika import PikaDriver
from amqtask.errors import BackendFailed, MessageTooLarge, PreconditionFailed, ResultUnavailable
from amqtask.result import AsyncResult, GroupResult
from amqtask.results.access import ResultAccess
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.result_rigs import Heard, Rig, report, rig
from tests.support.stores import free_port, memcached_server, postgresql_url, redis_server


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Sending:
    """A worker that stores many reports on a thread; `wait` until all are settled."""

    def __init__(self, backends: Rig, count: int, pause: float = 0.0) -> None:
        self.reports = [report(result=number) for number in range(count)]
        self._came = threading.Semaphore(0)
        self.errors: list[Exception] = []
        reply_to = backends.client.reply_to()
        for each in self.reports:
            backends.client.expect(each.task_id)
        self._thread = threading.Thread(target=self._run, args=(backends, reply_to, pause))
        self._thread.start()

    def _run(self, backends: Rig, reply_to: str | None, pause: float) -> None:
        for each in self.reports:
            backends.worker.store(each, reply_to=reply_to, done=self._done)
            if pause:
                time.sleep(pause)

    def _done(self, error: Exception | None) -> None:
        if error is not None:
            self.errors.append(error)
        self._came.release()

    def wait(self) -> None:
        self._thread.join()
        for _ in self.reports:
            assert self._came.acquire(timeout=90), "a report was neither kept nor given up"
        assert self.errors == []


def collected(backends: Rig, sending: Sending) -> list[object]:
    access = ResultAccess(backend=backends.client)
    return GroupResult(AsyncResult(each.task_id, access) for each in sending.reports).get(timeout=90)


def test_thousands_of_replies_in_flight_survive_connections_that_are_cut(
    vhost: str, cleanup: ExitStack, tmp_path: Path
) -> None:
    parts = urlsplit(vhost)
    proxy = cleanup.enter_context(Proxy(parts.hostname or "localhost", parts.port or 5672))
    through = urlunsplit(parts._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}"))
    backends = cleanup.enter_context(rig("rpc", through, tmp_path))

    sending = Sending(backends, 3000, pause=0.0003)
    for octets in (20_000, 50_000, 100_000):
        proxy.cut_after(octets)
        eventually(lambda: proxy.connections == 0 or not sending._thread.is_alive())
    proxy.heal()
    sending.wait()

    assert collected(backends, sending) == list(range(3000))


def test_persistent_replies_survive_a_restart_of_the_broker(node: Node, cleanup: ExitStack, tmp_path: Path) -> None:
    backends = cleanup.enter_context(rig("rpc", node.fresh_vhost(), tmp_path, persistent=True))

    sending = Sending(backends, 2000, pause=0.0005)
    node.restart()
    sending.wait()

    assert collected(backends, sending) == list(range(2000))


def test_a_reply_queue_that_somebody_deleted_is_declared_anew(vhost: str, cleanup: ExitStack, tmp_path: Path) -> None:
    backends = cleanup.enter_context(rig("rpc", vhost, tmp_path))
    queue = backends.client.reply_to()
    assert queue is not None
    connection = PikaDriver().connect(parse_url(vhost), 10)
    cleanup.callback(connection.close)

    connection.channel(QuietSink(), confirms=False).declare(DeleteQueue(name=queue))

    def answered() -> bool:
        # Not mandatory: what is sent before the queue is back goes nowhere.
        probe = report(result="back")
        backends.put(probe)
        heard = Heard()
        backends.client.watch(probe.task_id, heard)
        try:
            return heard.until(lambda update: update == probe, timeout=0.5) == probe
        except Exception:  # noqa: BLE001 - queue.Empty: not yet
            return False

    assert eventually(answered)


def test_a_client_without_a_broker_hears_so_in_bounded_time(cleanup: ExitStack, tmp_path: Path) -> None:
    dead = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    backends = cleanup.enter_context(rig("rpc", dead, tmp_path, connect_timeout=0.5))

    with pytest.raises(BackendFailed, match="no replies can be received"):
        backends.client.reply_to()


def test_unread_replies_are_bounded_in_memory_and_the_dropped_ones_say_so(
    vhost: str, cleanup: ExitStack, tmp_path: Path
) -> None:
    backends = cleanup.enter_context(rig("rpc", vhost, tmp_path, keep=50_000))
    first = report(result="x" * 1000)
    backends.put(first)
    last = [report(result="y" * 1000) for _ in range(200)]
    backends.put_all(last)
    access = ResultAccess(backend=backends.client)

    newest: AsyncResult[object] = AsyncResult(last[-1].task_id, access)
    oldest: AsyncResult[object] = AsyncResult(first.task_id, access)

    assert newest.get(timeout=30) == "y" * 1000
    eventually(lambda: oldest.state == "UNKNOWN")
    with pytest.raises(ResultUnavailable, match="dropped the result unread"):
        oldest.get(timeout=30)


@pytest.mark.parametrize(
    ("kind", "server"), [("redis", redis_server), ("memcached", memcached_server)], ids=["redis", "memcached"]
)
def test_reports_wait_for_a_store_that_is_down_and_so_do_watchers(
    kind: str,
    server: Callable[[int], AbstractContextManager[str]],
    cleanup: ExitStack,
    tmp_path: Path,
) -> None:
    port = free_port()
    backends = cleanup.enter_context(rig(kind, f"{kind}://127.0.0.1:{port}", tmp_path, connect_timeout=1.0))
    task, heard, settled = report(result=1), Heard(), threading.Semaphore(0)
    outcome: list[Exception | None] = []

    def done(error: Exception | None) -> None:
        outcome.append(error)
        settled.release()

    backends.client.watch(task.task_id, heard)
    backends.worker.store(task, reply_to=None, done=done)
    with pytest.raises(BackendFailed):
        backends.client.latest(task.task_id)
    assert outcome == []
    cleanup.enter_context(server(port))

    assert settled.acquire(timeout=60)
    assert outcome == [None]
    assert heard.until(lambda update: update == task) == task


def test_a_value_that_a_store_takes_from_nobody_is_reported_as_a_failure(cleanup: ExitStack, tmp_path: Path) -> None:
    backends = cleanup.enter_context(rig("memcached", cleanup.enter_context(memcached_server()), tmp_path))
    large = report(result="x" * 5_000_000)

    assert backends.put(large) is None

    with pytest.raises(MessageTooLarge):
        AsyncResult(large.task_id, ResultAccess(backend=backends.client)).get(timeout=30)


def test_a_reply_that_the_broker_takes_from_nobody_is_reported_as_a_failure(
    node: Node, cleanup: ExitStack, tmp_path: Path
) -> None:
    node.limit_message_size(1_000_000)
    cleanup.callback(node.limit_message_size, None)
    backends = cleanup.enter_context(rig("rpc", node.fresh_vhost(), tmp_path))
    large, small = report(result="x" * 2_000_000), report(result="x")

    assert backends.put_all([large, small]) == [None, None]

    access = ResultAccess(backend=backends.client)
    assert AsyncResult(small.task_id, access).get(timeout=30) == "x"
    with pytest.raises(PreconditionFailed, match="size"):
        AsyncResult(large.task_id, access).get(timeout=30)


@pytest.mark.parametrize("kind", ["redis", "memcached"])
def test_a_report_is_given_up_when_the_store_stays_down(kind: str, cleanup: ExitStack, tmp_path: Path) -> None:
    url = f"{kind}://127.0.0.1:{free_port()}"
    backends = cleanup.enter_context(rig(kind, url, tmp_path, connect_timeout=0.3, retry_for=0.5))

    assert isinstance(backends.put(report()), BackendFailed)


@pytest.mark.parametrize("kind", ["redis", "memcached", "sql"])
def test_connections_that_are_cut_lose_no_report(kind: str, cleanup: ExitStack, tmp_path: Path) -> None:
    if kind == "redis":
        url = cleanup.enter_context(redis_server())
    elif kind == "memcached":
        url = cleanup.enter_context(memcached_server())
    else:
        url = postgresql_url()
    parts = urlsplit(url)
    proxy = cleanup.enter_context(Proxy(parts.hostname or "localhost", parts.port or 5432))
    login = f"{parts.username}@" if parts.username else ""
    through = urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}"))
    backends = cleanup.enter_context(rig(kind, through, tmp_path))

    sending = Sending(backends, 1000, pause=0.001)
    results: list[object] = []
    collector = threading.Thread(target=lambda: results.extend(collected(backends, sending)))
    collector.start()
    while sending._thread.is_alive():
        proxy.cut()
        sending._thread.join(0.2)
    sending.wait()
    collector.join(90)

    assert results == list(range(1000))
