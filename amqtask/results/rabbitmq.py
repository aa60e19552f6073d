"""Results that any process can look up by id, with nothing but RabbitMQ: replies to who sent, and streams for the rest.

The sender gets its results as with `rpc`. Beside that each report is appended to one of a few streams, chosen by the
task's id, which keep what came within `expires`; who asks for an id that it did not send reads that stream. Reports
fold in any order (`core.state.precedence`), so appending needs no lock. The other way, an expiring queue for each
result, was measured too: 233 results a second against 17,000, and an Erlang process for each (`docs/results.md`).
"""

import threading
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence

from amqtask.core.declare import DeclareQueue
from amqtask.core.message import Envelope
from amqtask.core.state import ResultRef, TaskResult
from amqtask.drivers.base import QuietSink
from amqtask.errors import BackendFailed, BrokerError, ConfigError, MessageError, Problem, PublishError, Unroutable
from amqtask.publisher import Publisher
from amqtask.results.base import Done, Unsubscribe, Watcher
from amqtask.results.codec import Record, ResultCodec
from amqtask.results.rpc import RpcBackend
from amqtask.results.rpc import create as create_rpc
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.stream_log import END, LogSession, Reading
from amqtask.results.watchers import Watchers
from amqtask.session import SessionOptions
from amqtask.ticket import Ticket

_VALUE = "value"
_FORGET = "forget"
_EXPIRES_AT = "expires_at"
_GROUP = "group:"
_PARTITIONS = 8
_MAX_BYTES = 2**30
_SEGMENT_BYTES = 16 * 2**20
"""A stream forgets whole segments, so small ones follow the age more closely."""


class StreamStore:
    """An append-only log of reports in a few streams."""

    def __init__(
        self,
        *,
        session: SessionOptions,
        publisher: Callable[[], Publisher],
        codec: ResultCodec,
        prefix: str,
        expires: float | None,
        partitions: int,
        timeout: float,
    ) -> None:
        self._options = session
        self._clock = session.clock
        self._publisher = publisher
        self._codec = codec
        self._expires = expires
        self._timeout = timeout
        self._lock = threading.Lock()
        self._declared = False
        self.log = LogSession(session)
        arguments: dict[str, int | str] = {
            "x-queue-type": "stream",
            "x-max-length-bytes": _MAX_BYTES,
            "x-stream-max-segment-size-bytes": _SEGMENT_BYTES,
        }
        if expires is not None:
            arguments["x-max-age"] = f"{max(1, int(expires))}s"
        self._streams = [
            DeclareQueue(name=f"aqt.results.{prefix}{number}", arguments=arguments) for number in range(partitions)
        ]

    def stream_of(self, key: str) -> DeclareQueue:
        """The stream of a task or a group."""
        return self._streams[zlib.crc32(key.encode()) % len(self._streams)]

    def write(self, records: Sequence[Record]) -> None:
        self._append([(record.result.task_id, _VALUE, record.value) for record in records])

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return self._look(task_ids)

    def delete(self, task_id: str) -> None:
        self._append([(task_id, _FORGET, b"")])

    def write_group(self, group_id: str, value: bytes) -> None:
        self._append([(_GROUP + group_id, _VALUE, value)])

    def read_group(self, group_id: str) -> bytes | None:
        return self._look([_GROUP + group_id]).get(_GROUP + group_id)

    def delete_group(self, group_id: str) -> None:
        self._append([(_GROUP + group_id, _FORGET, b"")])

    def close(self) -> None:
        self.log.close()

    def is_fresh(self, envelope: Envelope) -> bool:
        """Whether what a message of the log says still holds."""
        expires_at = envelope.headers.get(_EXPIRES_AT)
        return not isinstance(expires_at, float) or expires_at > self._clock.time()

    def _append(self, entries: Sequence[tuple[str, str, bytes]]) -> None:
        """Append messages of these keys, types and bodies, and see them confirmed."""
        self._declare()
        headers = {} if self._expires is None else {_EXPIRES_AT: self._clock.time() + self._expires}
        publisher = self._publisher()
        tickets = [
            Ticket(
                Envelope(body=body, type=kind, correlation_id=key, message_id=uuid.uuid4().hex, headers=headers),
                "",
                self.stream_of(key).name,
                deadline=self._clock.monotonic() + self._timeout,
            )
            for key, kind, body in entries
        ]
        for ticket in tickets:
            publisher.send(ticket)
        self._see_confirmed(tickets)

    def _see_confirmed(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            try:
                ticket.wait(self._timeout + 30.0)
            except Unroutable as error:
                self._declared = False
                raise BackendFailed(f"a stream of results was deleted: {error}") from error
            except (PublishError, BrokerError) as error:
                raise BackendFailed(f"a result was not appended: {error}") from error

    def _look(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What the streams hold of these keys now: each is read up to a message written for that."""
        found: dict[str, bytes] = {}
        by_stream: dict[str, list[str]] = {}
        for key in keys:
            by_stream.setdefault(self.stream_of(key).name, []).append(key)

        def hear(envelope: Envelope) -> None:
            self._fold(found, envelope)

        self._declare()
        readings: list[Reading] = []
        markers: list[Ticket] = []
        for wanted in by_stream.values():
            stream, end = self.stream_of(wanted[0]), uuid.uuid4().hex
            envelope = Envelope(body=b"", type=END, correlation_id=end, message_id=end)
            markers.append(Ticket(envelope, "", stream.name, deadline=self._clock.monotonic() + self._timeout))
            readings.append(Reading(stream, frozenset(wanted), hear, end))
        for marker in markers:
            self._publisher().send(marker)
        self._see_confirmed(markers)
        try:
            for reading in readings:
                self.log.read(reading)
            for reading in readings:
                reading.wait(self._timeout)
        finally:
            for reading in readings:
                if not reading.over.is_set():
                    self.log.stop(reading)
        return found

    def _fold(self, found: dict[str, bytes], envelope: Envelope) -> None:
        key = envelope.correlation_id or ""
        if envelope.type == _FORGET:
            found.pop(key, None)
        elif envelope.type == _VALUE and self.is_fresh(envelope):
            present = found.get(key)
            if (
                present is None
                or key.startswith(_GROUP)
                or self._precedence(envelope.body) >= self._precedence(present)
            ):
                found[key] = envelope.body

    def _precedence(self, value: bytes) -> int:
        try:
            return self._codec.precedence_of(value)
        except MessageError:
            return -1  # what nobody can read may be replaced

    def _declare(self) -> None:
        with self._lock:
            if self._declared:
                return
            try:
                self._declare_at_any_broker()
            except BrokerError as error:
                raise BackendFailed(f"the streams of results cannot be declared: {error}") from error
            self._declared = True

    def _declare_at_any_broker(self) -> None:
        failure: BrokerError | None = None
        for address in self._options.addresses:
            try:
                connection = self._options.driver.connect(address, self._options.connect_timeout)
            except BrokerError as error:
                failure = error
                continue
            try:
                channel = connection.channel(QuietSink(), confirms=False)
                for stream in self._streams:
                    channel.declare(stream)
                return
            finally:
                connection.close()
        if failure is not None:
            raise failure


class Follower:
    """A Lookout: one endless reading for each stream in which somebody waits for something.

    A new wait in a stream that is read already begins that reading anew, for the report may be in it already.
    """

    def __init__(self, store: StreamStore, watchers: Watchers, setup: BackendSetup) -> None:
        self._store = store
        self._watchers = watchers
        self._codec = setup.codec
        self._lock = threading.Lock()
        self._wanted: dict[str, set[str]] = {}
        self._readings: dict[str, Reading] = {}

    def watch(self, task_id: str) -> None:
        stream = self._store.stream_of(task_id)
        with self._lock:
            wanted = self._wanted.setdefault(stream.name, set())
            wanted.add(task_id)
            before = self._readings.pop(stream.name, None)
            if before is not None:
                self._store.log.stop(before)
            reading = self._readings[stream.name] = Reading(stream, wanted, self._hear, None)
            self._store.log.read(reading)

    def unwatch(self, task_id: str) -> None:
        stream = self._store.stream_of(task_id)
        with self._lock:
            wanted = self._wanted.get(stream.name)
            if wanted is None or task_id in self._watchers:
                return
            wanted.discard(task_id)
            if not wanted and stream.name in self._readings:
                self._store.log.stop(self._readings.pop(stream.name))

    def close(self) -> None:
        with self._lock:
            self._readings.clear()

    def _hear(self, envelope: Envelope) -> None:
        if envelope.type != _VALUE or not self._store.is_fresh(envelope):
            return
        task_id = envelope.correlation_id or ""
        try:
            self._watchers.tell(self._codec.unpack(envelope.body))
        except MessageError as error:
            self._watchers.end(BackendFailed(f"the stored result of task {task_id} cannot be read: {error}"), [task_id])


class RabbitmqBackend:
    """Replies for who sent the task, the streams for all others."""

    def __init__(self, replies: RpcBackend, log: StoredResults) -> None:
        self._replies = replies
        self._log = log

    def reply_to(self) -> str | None:
        return self._replies.reply_to()

    def expect(self, task_id: str) -> None:
        self._replies.expect(task_id)

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        both = _Both(done)
        self._log.store(result, reply_to=reply_to, done=both.one_done)
        self._replies.store(result, reply_to=reply_to, done=both.one_done)

    def latest(self, task_id: str) -> TaskResult | None:
        return (self._replies if self._replies.knows(task_id) else self._log).latest(task_id)

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        return (self._replies if self._replies.knows(task_id) else self._log).watch(task_id, callback)

    def forget(self, task_id: str) -> None:
        self._replies.forget(task_id)
        self._log.forget(task_id)

    def save_group(self, group: ResultRef) -> None:
        self._log.save_group(group)

    def restore_group(self, group_id: str) -> ResultRef | None:
        return self._log.restore_group(group_id)

    def delete_group(self, group_id: str) -> None:
        self._log.delete_group(group_id)

    def close(self) -> None:
        self._log.close()
        self._replies.close()


class _Both:
    """Calls `done` once two things are done, with the first error."""

    def __init__(self, done: Done) -> None:
        self._done = done
        self._lock = threading.Lock()
        self._left = 2
        self._error: Exception | None = None

    def one_done(self, error: Exception | None) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            if self._left:
                return
        self._done(self._error)


def create(setup: BackendSetup) -> RabbitmqBackend:
    """The backend `rabbitmq`; the option `partitions` is the number of streams, the same in all processes."""
    if setup.session is None or setup.publisher is None:
        raise BackendFailed("the rabbitmq backend needs the app's broker")
    partitions = setup.options.get("partitions", _PARTITIONS)
    if not isinstance(partitions, int) or partitions < 1:
        raise ConfigError([Problem(message="results.options.partitions is not a number of streams")])
    store = StreamStore(
        session=setup.session,
        publisher=setup.publisher,
        codec=setup.codec,
        prefix=setup.prefix,
        expires=setup.expires,
        partitions=partitions,
        timeout=setup.connect_timeout,
    )

    def lookout(_: Store, watchers: Watchers) -> Follower:
        return Follower(store, watchers, setup)

    return RabbitmqBackend(create_rpc(setup), StoredResults(store, setup, lookout))
