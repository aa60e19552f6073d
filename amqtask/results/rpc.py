"""Results as replies: each client process has one queue, named in its tasks' `reply_to`, and one consumer on it.

The queue has a name of its own, is durable and not exclusive, and expires only some time after its client went: so the
replies that are under way when a connection drops wait in it. RabbitMQ's direct reply-to would save the queue, but
must be consumed on the channel that publishes the tasks and loses what is under way with it
(https://www.rabbitmq.com/docs/direct-reply-to), and is no faster: `docs/results.md` has the numbers.

The replies are Celery's (`celery/backends/rpc.py`): default exchange, the task's id as the correlation id.
"""

import threading
import uuid
from collections.abc import Callable

from amqtask.clock import Clock
from amqtask.core.declare import DeclareQueue, DeleteQueue
from amqtask.core.message import PERSISTENT, TRANSIENT, Delivery, Envelope, Verdict
from amqtask.core.state import SUCCESS, ResultRef, TaskResult
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BackendFailed, BrokerError, ChannelClosed, MessageError, ResultUnavailable
from amqtask.log import event, get_logger
from amqtask.publisher import HOPELESS, Publisher
from amqtask.results.base import Done, Unsubscribe, Watcher
from amqtask.results.codec import Payload, ResultCodec, failure_instead
from amqtask.results.mailbox import Mailbox
from amqtask.results.setup import BackendSetup
from amqtask.results.watchers import Watchers, call
from amqtask.session import NEVER, Session, SessionOptions
from amqtask.ticket import Ticket

logger = get_logger("results")

COMPRESSION_HEADER = "compression"
"""The header in which kombu names the compression of a body."""

_NO_GROUPS = "the rpc backend keeps no groups: only this process could ask for them; use another result backend"


class RpcBackend:
    """Receives the replies to this process's tasks, and sends those of the tasks that this process runs.

    The reply queue and its connection come with the first `reply_to`; a process that only runs tasks has neither.
    """

    def __init__(
        self,
        *,
        session: SessionOptions,
        publisher: Callable[[], Publisher],
        codec: ResultCodec,
        persistent: bool = False,
        keep: int = 64 * 2**20,
        reply_expires: float = 1800.0,
        retry_for: float = 60.0,
        connect_timeout: float = 10.0,
    ) -> None:
        """`publisher` is asked for when the first result is stored. For the others see `BackendSetup`."""
        self._options = session
        self._clock: Clock = session.clock
        self._publisher = publisher
        self._codec = codec
        self._final_mode = PERSISTENT if persistent else TRANSIENT
        self._retry_for = retry_for
        self._connect_timeout = connect_timeout
        self._reply_expires = reply_expires
        self._mailbox = Mailbox(codec, keep)
        self._watchers = Watchers()
        self._lock = threading.Lock()
        self._receiver: _Receiver | None = None
        self._closed = False

    def reply_to(self) -> str | None:
        receiver = self._receiver or self._start()
        receiver.wait_until_ready(self._connect_timeout)
        return receiver.queue

    def expect(self, task_id: str) -> None:
        self._mailbox.expect(task_id)

    def store(self, result: TaskResult, *, reply_to: str | None, done: Done) -> None:
        if reply_to is None:
            done(None)
            return
        try:
            payload = self._codec.encode(result)
        except Exception as error:  # noqa: BLE001 - a serializer may raise anything, and the caller hears of it
            done(error)
            return
        envelope = Envelope(
            body=payload.body,
            headers={} if payload.compression is None else {COMPRESSION_HEADER: payload.compression},
            content_type=payload.content_type,
            content_encoding=payload.content_encoding,
            correlation_id=result.task_id,
            delivery_mode=self._final_mode if result.is_final else TRANSIENT,
        )

        def settled(ticket: Ticket) -> None:
            if isinstance(ticket.error, ChannelClosed) and result.status == SUCCESS:
                # The broker takes no message like this one: it is larger than max_message_size, for one.
                self.store(failure_instead(result, ticket.error), reply_to=reply_to, done=done)
            else:
                done(ticket.error)

        # Not mandatory: a client that has gone for good must not fail its tasks. States on the way are news for
        # those who look on, and not worth a confirm.
        self._publisher().send(
            Ticket(
                envelope,
                "",
                reply_to,
                deadline=self._clock.monotonic() + self._retry_for,
                mandatory=False,
                confirm=result.is_final,
                on_done=settled,
            )
        )

    def latest(self, task_id: str) -> TaskResult | None:
        try:
            return self._mailbox.latest(task_id)
        except MessageError as error:
            raise BackendFailed(f"the reply for task {task_id} cannot be read: {error}") from error

    def watch(self, task_id: str, callback: Watcher) -> Unsubscribe:
        self._watchers.add(task_id, callback)
        try:
            present = self.latest(task_id)
        except BackendFailed as error:
            call(callback, error)
        else:
            if present is not None:
                call(callback, present)

        def unsubscribe() -> None:
            self._watchers.remove(task_id, callback)

        return unsubscribe

    def knows(self, task_id: str) -> bool:
        """Whether a reply for this task is here or may come."""
        return self._mailbox.knows(task_id)

    def forget(self, task_id: str) -> None:
        self._mailbox.forget(task_id)

    def save_group(self, group: ResultRef) -> None:
        raise ResultUnavailable(_NO_GROUPS)

    def restore_group(self, group_id: str) -> ResultRef | None:
        raise ResultUnavailable(_NO_GROUPS)

    def delete_group(self, group_id: str) -> None:
        raise ResultUnavailable(_NO_GROUPS)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            receiver = self._receiver
        if receiver is not None:
            receiver.close()
        self._watchers.end(BackendFailed("the result backend was closed"))

    def _start(self) -> "_Receiver":
        with self._lock:
            if self._closed:
                raise BackendFailed("the result backend was closed")
            if self._receiver is None:
                self._receiver = _Receiver(self._options, self._reply_expires, self._received)
            return self._receiver

    def _received(self, task_id: str, payload: Payload) -> None:
        """Called on the receiver's thread."""
        try:
            if task_id not in self._watchers:
                self._mailbox.put(task_id, payload)
                # Somebody may have begun to wait since: who looks into the mailbox first and then finds it empty is
                # registered already, so this second look finds them.
                if task_id not in self._watchers:
                    return
                result = self._mailbox.latest(task_id)
                if result is not None:
                    self._watchers.tell(result)
                return
            result = self._codec.decode(payload)
            if self._mailbox.merge(result, len(payload.body)):
                self._watchers.tell(result)
        except MessageError as error:
            logger.warning(
                "the reply for task %s cannot be read: %s",
                task_id,
                error,
                extra=event("reply-unreadable", task_id=task_id),
            )
            self._watchers.end(BackendFailed(f"the reply for task {task_id} cannot be read: {error}"), [task_id])


class _Receiver(QuietSink):
    """The reply queue and its consumer; a participant of a session of its own."""

    _PREFETCH = 500
    _ACK_EVERY = 100
    _ACK_DELAY = 0.05

    def __init__(self, options: SessionOptions, expires: float, receive: Callable[[str, Payload], None]) -> None:
        self.queue = f"aqt.reply.{uuid.uuid4()}"
        self._expires_ms = max(1, int(expires * 1000))
        self._receive = receive
        self._channel: Channel | None = None
        self._connection: Connection | None = None
        self._clock = options.clock
        self._unacked = 0
        self._last_tag = 0
        self._ack_at = NEVER
        self._ready = threading.Event()
        self._hopeless: BrokerError | None = None
        self._closing = False
        self._session = Session(options, [self], name="replies", on_failure=self._connect_failed)
        self._session.start()

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until the queue exists: the broker drops replies to one that does not.

        Raises:
            BackendFailed: it could not be declared in time.
        """
        if not self._ready.is_set():
            self._ready.wait(timeout)
        failure = self._hopeless or (None if self._ready.is_set() else self._session.failure)
        if failure is not None:
            raise BackendFailed(f"no replies can be received: {failure}") from failure
        if not self._ready.is_set():
            raise BackendFailed(f"no replies can be received: the broker did not answer within {timeout:g} s")

    def close(self) -> None:
        """Delete the queue and close the connection."""
        self._closing = True
        self._session.call_soon(self._delete_queue)
        self._session.stop(5.0)

    # Session's thread from here on.

    def opened(self, connection: Connection) -> None:
        self._open(connection)
        self._connection = connection
        self._hopeless = None
        self._ready.set()

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._channel = None
        self._unacked = 0
        self._ack_at = NEVER

    def turn(self, now: float) -> float:
        if self._connection is not None and self._channel is None:
            self._open(self._connection)
        if self._unacked and (self._unacked >= self._ACK_EVERY or now >= self._ack_at):
            self._acknowledge()
        return self._ack_at

    def delivered(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        self._last_tag = delivery.tag
        if not self._unacked:
            self._ack_at = self._clock.monotonic() + self._ACK_DELAY
        self._unacked += 1
        if envelope.correlation_id is None:
            logger.warning("a reply names no task; it was dropped", extra=event("reply-unreadable"))
            return
        compression = envelope.headers.get(COMPRESSION_HEADER)
        self._receive(
            envelope.correlation_id,
            Payload(
                envelope.body,
                envelope.content_type,
                envelope.content_encoding,
                compression if isinstance(compression, str) else None,
            ),
        )

    def cancelled(self, consumer_tag: str) -> None:
        if self._closing:
            return
        # Somebody deleted the queue. What was in it is lost; what comes is received again.
        logger.warning("the reply queue %s is gone; declaring it anew", self.queue, extra=event("reply-queue-gone"))
        if self._channel is not None:
            self._acknowledge()
            self._channel.close()
            self._channel = None

    def closed(self, error: BrokerError) -> None:
        logger.warning("the channel of replies was closed: %s", error, extra=event("channel-closed"))
        self._channel = None
        self._unacked = 0
        self._ack_at = NEVER

    def _open(self, connection: Connection) -> None:
        channel = connection.channel(self, confirms=False)
        channel.declare(DeclareQueue(name=self.queue, arguments={"x-expires": self._expires_ms}))
        channel.qos(self._PREFETCH)
        channel.consume(self.queue, no_ack=False, exclusive=False, arguments={})
        self._unacked = 0
        self._ack_at = NEVER
        self._channel = channel

    def _acknowledge(self) -> None:
        if self._channel is not None and self._unacked:
            self._channel.settle(self._last_tag, Verdict.ACK, multiple=True)
        self._unacked = 0
        self._ack_at = NEVER

    def _delete_queue(self) -> None:
        if self._channel is not None:
            self._channel.declare(DeleteQueue(name=self.queue))

    def _connect_failed(self, error: BrokerError, failures: int) -> None:
        if isinstance(error, HOPELESS):
            self._hopeless = error
            self._ready.set()


def create(setup: BackendSetup) -> RpcBackend:
    """The backend `rpc`."""
    if setup.session is None or setup.publisher is None:
        raise BackendFailed("the rpc backend needs the app's broker")
    return RpcBackend(
        session=setup.session,
        publisher=setup.publisher,
        codec=setup.codec,
        persistent=setup.persistent,
        keep=setup.keep,
        reply_expires=setup.reply_expires,
        retry_for=setup.retry_for,
        connect_timeout=setup.connect_timeout,
    )
