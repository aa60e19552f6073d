"""The driver over pika.

pika does the handshake (`pika.connection.Connection`, through the hooks that its own adapters use) and writes and
reads the methods (`pika.spec`). Turning the loop, batching writes, heartbeats and the frames of messages are done
here: pika's way from socket to consumer copies the rest of its buffer for every frame and looks up callbacks for each.
"""

import itertools
import logging
import platform
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn

import pika
import pika.connection
import pika.credentials
import pika.exceptions
import pika.frame
import pika.spec as spec

from amqtask.core.address import Address
from amqtask.core.content import body_size, decode_envelope, encode_header
from amqtask.core.declare import (
    Arguments,
    BindExchange,
    BindQueue,
    DeclareExchange,
    DeclareOp,
    DeclareQueue,
    DeleteExchange,
    DeleteQueue,
    PurgeQueue,
    QueueInfo,
    UnbindQueue,
)
from amqtask.core.fieldtable import decode_short, encode_short, encode_table
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers.base import ChannelSink
from amqtask.drivers.replies import channel_error, describe, handshake_error, method_name
from amqtask.drivers.stream import FLUSH_SIZE, Stream, dial
from amqtask.errors import BrokerError, ChannelClosed, ConnectionFailed, ConnectionLost, MalformedMessage

logger = logging.getLogger(__name__)

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
END = b"\xce"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"

DELIVER = 60 << 16 | 60
RETURN = 60 << 16 | 50
ACK = 60 << 16 | 80
NACK = 60 << 16 | 120
REJECT = 60 << 16 | 90
CANCEL = 60 << 16 | 30
CLOSE = 20 << 16 | 40
FLOW = 20 << 16 | 20

_FRAME = struct.Struct(">BHI")
_METHOD_ID = struct.Struct(">I")
_TAG = struct.Struct(">Q?")
_SHORT = struct.Struct(">H")
_SETTLE = struct.Struct(">BHIIQBB")

CLOSE_TIMEOUT = 3.0
DEFAULT_HEARTBEAT = 15
ANSWER_HEARTBEATS = 4
"""A broker that sends heartbeats but no answer is given up after this many heartbeat times."""
CACHED_ROUTES = 1024

_generations = itertools.count(1)

Event = tuple["PikaChannel", Callable[..., None], tuple[Any, ...]]


class PikaDriver:
    """`amqtask.drivers.base.Driver` over pika."""

    def connect(self, address: Address, timeout: float) -> "PikaConnection":
        deadline = time.monotonic() + timeout
        stream = Stream(dial(address, deadline))
        try:
            return PikaConnection(address, stream, deadline, timeout)
        except BaseException:
            stream.close()
            raise


class _Handshake(pika.connection.Connection):  # type: ignore[misc]  # pika has no types
    """pika's side of channel 0: login, negotiation, blocked and unblocked, close. It neither reads nor keeps time."""

    def __init__(self, address: Address, stream: Stream) -> None:
        self._stream = stream
        self.failure: Exception | None = None
        self.opening = False
        self.blocked_reason: str | None = None
        super().__init__(_parameters(address), internal_connection_workflow=False)
        self.add_on_connection_blocked_callback(self._block)
        self.add_on_connection_unblocked_callback(self._unblock)

    def _block(self, _connection: object, frame: Any) -> None:
        self.blocked_reason = str(frame.method.reason) or "no reason given"

    def _unblock(self, _connection: object, _frame: object) -> None:
        self.blocked_reason = None

    def _adapter_emit_data(self, data: bytes) -> None:
        self._stream.out += data

    def _terminate_stream(self, error: Exception | None) -> None:
        if isinstance(error, pika.exceptions.ConnectionClosedByBroker):
            self._send_method(0, spec.Connection.CloseOk())
            self._stream.flush()
        self.opening = self.connection_state == self.CONNECTION_TUNE
        self.failure = error or self._error
        self._set_connection_state(self.CONNECTION_CLOSED)

    def _create_heartbeat_checker(self) -> None:
        return None

    def _adapter_connect_stream(self) -> NoReturn:
        raise NotImplementedError("the stream is connected before pika is told")

    def _adapter_disconnect_stream(self) -> NoReturn:
        raise NotImplementedError("_terminate_stream does not come here")

    def _adapter_call_later(self, delay: float, callback: Callable[[], None]) -> NoReturn:
        raise NotImplementedError("pika is given nothing that needs a timer")

    def _adapter_remove_timeout(self, timeout_id: object) -> NoReturn:
        raise NotImplementedError("pika is given nothing that needs a timer")

    def _adapter_add_callback_threadsafe(self, callback: Callable[[], None]) -> NoReturn:
        raise NotImplementedError("Connection.wake is the only method for other threads")


def _parameters(address: Address) -> pika.ConnectionParameters:
    def heartbeat(_connection: object, server: int) -> int:
        return min(server or address.heartbeat, address.heartbeat)

    if address.mechanism == "EXTERNAL":
        credentials: Any = pika.credentials.ExternalCredentials()
    else:
        credentials = pika.credentials.PlainCredentials(address.user, address.password)
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=credentials,
        heartbeat=heartbeat,
        client_properties={
            "product": "amqtask",
            "platform": f"Python {platform.python_version()}, pika {pika.__version__}",
            "information": "",
            "connection_name": address.name,
        },
    )


class PikaConnection:
    """`amqtask.drivers.base.Connection` over pika: a stream, the frames on it, and the events that wait for a poll."""

    def __init__(self, address: Address, stream: Stream, deadline: float, timeout: float) -> None:
        self.address: Final = address
        self.stream: Final = stream
        self._wire = _Handshake(address, stream)
        self._channels: dict[int, PikaChannel] = {}
        self._events: deque[Event] = deque()
        self._rest = b""
        self._lost: ConnectionLost | None = None
        self._closed = False
        self._heartbeat = 0
        self._half_beat = float("inf")
        self._open(deadline, timeout)
        self._heartbeat = self._wire.params.heartbeat
        self._half_beat = self._heartbeat / 2 or float("inf")
        self.body_limit: Final[int] = self._wire.params.frame_max - 8

    @property
    def blocked(self) -> str | None:
        return self._wire.blocked_reason

    @property
    def server(self) -> str:
        properties = self._wire.server_properties or {}
        return f"{properties.get('product', 'unknown')} {properties.get('version', '')}".strip()

    def channel(self, sink: ChannelSink, *, confirms: bool) -> "PikaChannel":
        self.check()
        limit = self._wire.params.channel_max or 65535
        number = next((n for n in range(1, limit + 1) if n not in self._channels), None)
        if number is None:
            raise BrokerError(f"{self.address}: all {limit} channels of the connection are in use")
        channel = PikaChannel(self, number, sink, confirms=confirms)
        self._channels[number] = channel
        channel.open()
        return channel

    def poll(self, timeout: float) -> None:
        if self._events:
            self.stream.flush()
            self._dispatch()
            return
        self.check()
        deadline = time.monotonic() + timeout
        while True:
            rung = self._turn(deadline)
            if self._events:
                self._dispatch()
                return
            self.check()
            if rung or time.monotonic() >= deadline:
                return

    def wake(self) -> None:
        self.stream.ring()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._lost is None:
                self._wire.close()
                self._turn_until(lambda: self._wire.is_closed, time.monotonic() + CLOSE_TIMEOUT, "connection.close")
        except ConnectionLost as error:
            logger.debug("%s went away while it was closed: %s", self.address, error)
        finally:
            self._lost = self._lost or ConnectionLost(f"the connection to {self.address} was closed")
            self._events.clear()
            self.stream.close()

    # For the channels

    def check(self) -> None:
        """Raise ConnectionLost when the connection is gone."""
        if self._lost is not None:
            raise ConnectionLost(str(self._lost), code=self._lost.code, text=self._lost.text) from self._lost.__cause__

    def call(
        self, number: int, method: Any, arguments: Arguments | None, operation: str, done: Callable[[], bool]
    ) -> None:
        """Send a method on a channel and turn the loop until its answer is there, or the connection is given up."""
        self.check()
        self.send(number, method, arguments)
        patience = ANSWER_HEARTBEATS * (self._heartbeat or DEFAULT_HEARTBEAT)
        self._turn_until(done, time.monotonic() + patience, operation)

    def send(self, number: int, method: Any, arguments: Arguments | None = None) -> None:
        """Write a method. `arguments` replace its last field, for pika's tables cannot hold every type."""
        payload = _METHOD_ID.pack(method.INDEX) + b"".join(method.encode())
        if arguments is not None:
            payload = payload[:-4] + encode_table(arguments)
        self.stream.out += _FRAME.pack(METHOD, number, len(payload)) + payload + END

    def emit(self, channel: "PikaChannel", sink: Callable[..., None], *args: Any) -> None:
        """Keep a call of a sink for the next poll."""
        self._events.append((channel, sink, args))

    def forget(self, channel: "PikaChannel") -> None:
        """The channel is closed: nothing more comes for it, and its number is free."""
        self._channels.pop(channel.number, None)

    def drop_events(self, channel: "PikaChannel") -> None:
        """The channel was closed from here: its sink is not called any more."""
        self._events = deque(event for event in self._events if event[0] is not channel)

    # The loop

    def _open(self, deadline: float, timeout: float) -> None:
        wire = self._wire
        try:
            wire._on_stream_connected()  # the hook of pika's own adapters
            self._turn_until(lambda: bool(wire.is_open), deadline, "connection.open")
        except ConnectionLost as error:
            cause = wire.failure or error.__cause__
            if isinstance(cause, pika.exceptions.ConnectionClosedByBroker):
                raise handshake_error(
                    self.address, cause.reply_code, cause.reply_text, opening=wire.opening, cause=cause
                ) from cause
            if isinstance(cause, pika.exceptions.AuthenticationError):
                text = f"the broker does not offer the mechanism {self.address.mechanism}"
                raise handshake_error(self.address, 403, text, opening=False) from cause
            if isinstance(cause, TimeoutError):
                reason = f"it accepted the connection, but the handshake was not done within {timeout:g} s"
            elif cause is None:
                reason = "it closed the connection during the handshake"
            else:
                reason = str(cause)
            raise ConnectionFailed(f"cannot reach {self.address}: {reason}") from cause

    def _turn_until(self, done: Callable[[], bool], deadline: float, operation: str) -> None:
        rung = False
        while not done():
            self.check()
            if time.monotonic() >= deadline:
                self._lose(f"{operation} was not answered in time", TimeoutError(operation))
            else:
                rung = self._turn(deadline) or rung
        if rung:
            # The ring was meant for a poll.
            self.stream.ring()

    def _turn(self, deadline: float) -> bool:
        """Write, read once or wait for something to read; True when the wait was ended by a ring."""
        stream = self.stream
        stream.flush()
        if self._receive():
            if stream.last_read - stream.last_write > self._half_beat:
                stream.out += HEARTBEAT_FRAME
            return False
        if self._lost is not None:
            return False
        now = time.monotonic()
        if not self._heartbeat:
            return stream.wait(deadline - now)
        if now - stream.last_read >= self._heartbeat:
            self._lose(f"nothing came for {self._heartbeat} s (heartbeat)", TimeoutError("heartbeat"))
            return False
        if now - stream.last_write >= self._half_beat:
            if not stream.out:
                stream.out += HEARTBEAT_FRAME
                stream.flush()
            beat = now + self._half_beat
        else:
            beat = stream.last_write + self._half_beat
        return stream.wait(min(deadline, beat, stream.last_read + self._heartbeat) - now)

    def _receive(self) -> bool:
        """Read what is there, once; False when nothing was."""
        try:
            data = self.stream.read()
        except OSError as error:
            self._lose(error.strerror or str(error), error)
            return False
        if data is None:
            return False
        if not data:
            self._lose("the broker closed the stream", self.stream.lost)
            return False
        try:
            self._parse(self._rest + data if self._rest else data)
        except (pika.exceptions.AMQPError, MalformedMessage, struct.error, KeyError, IndexError) as error:
            self._lose(f"what came is not AMQP 0-9-1: {error}", error)
        if self._wire.failure is not None:
            failure = self._wire.failure
            self._lose(
                str(failure), failure, getattr(failure, "reply_code", None), str(getattr(failure, "reply_text", ""))
            )
        return True

    def _parse(self, data: bytes) -> None:
        frame, channels, size, offset = _FRAME.unpack_from, self._channels, len(data), 0
        while size - offset >= 8:
            kind, number, length = frame(data, offset)
            start = offset + 7
            end = start + length
            if kind not in {METHOD, HEADER, BODY, HEARTBEAT}:
                raise MalformedMessage(f"it begins with {data[offset : offset + 8]!r}")
            if end >= size:
                break
            if data[end] != FRAME_END:
                raise MalformedMessage("a frame does not end where it should")
            channel = channels.get(number)
            if channel is None:
                self._parse_other(kind, number, data[offset : end + 1])
            elif kind == BODY:
                channel.body(data[start:end])
            elif kind == HEADER:
                channel.header(data[start:end])
            else:
                channel.method(data, start, end)
            offset = end + 1
        self._rest = data[offset:]

    def _parse_other(self, kind: int, number: int, octets: bytes) -> None:
        if number == 0 and kind == METHOD:
            _, frame = pika.frame.decode_frame(octets)
            self._wire._process_frame(frame)  # the hook of pika's own adapters
        elif number:
            logger.debug("%s: a frame for channel %d, which is closed", self.address, number)

    def _lose(self, reason: str, cause: BaseException | None, code: int | None = None, text: str = "") -> None:
        if self._lost is None:
            self._lost = ConnectionLost(f"lost the connection to {self.address}: {reason}", code=code, text=text)
            self._lost.__cause__ = cause

    def _dispatch(self) -> None:
        while self._events:
            _, sink, args = self._events.popleft()
            sink(*args)


class PikaChannel:
    """`amqtask.drivers.base.Channel` over pika's methods."""

    def __init__(self, connection: PikaConnection, number: int, sink: ChannelSink, *, confirms: bool) -> None:
        self.generation = next(_generations)
        self.number: Final = number
        self._connection = connection
        self._sink = sink
        self._confirms = confirms
        self._sequence = 0
        self._error: ChannelClosed | None = None
        self._operation: str | None = None
        self._reply: Any = None
        self._routes: dict[tuple[str, str, bool], bytes] = {}
        self._content: tuple[Any, ...] = ()
        self._header = b""
        self._body: list[bytes] = []
        self._missing = 0

    def open(self) -> None:
        self._call(spec.Channel.Open(), "channel.open")
        if self._confirms:
            self._call(spec.Confirm.Select(), "confirm.select")

    def declare(self, op: DeclareOp) -> QueueInfo | None:
        arguments = getattr(op, "arguments", None)
        reply = self._call(_method(op), describe(op), arguments)
        match op:
            case DeclareQueue():
                return QueueInfo(name=reply.queue, messages=reply.message_count, consumers=reply.consumer_count)
            case DeleteQueue() | PurgeQueue():
                return QueueInfo(name=op.name, messages=reply.message_count, consumers=0)
            case _:
                return None

    def qos(self, prefetch: int) -> None:
        self._call(spec.Basic.Qos(prefetch_count=prefetch), f"basic.qos of {prefetch}")

    def consume(self, queue: str, *, no_ack: bool, exclusive: bool, arguments: Arguments) -> str:
        method = spec.Basic.Consume(queue=queue, no_ack=no_ack, exclusive=exclusive)
        return str(self._call(method, f"basic.consume of queue {queue!r}", arguments).consumer_tag)

    def cancel(self, consumer_tag: str) -> None:
        self._call(spec.Basic.Cancel(consumer_tag=consumer_tag), f"basic.cancel of consumer {consumer_tag!r}")

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> int:
        self._check()
        number, body, connection = self.number, envelope.body, self._connection
        route = self._routes.get((exchange, routing_key, mandatory)) or self._route(exchange, routing_key, mandatory)
        header = encode_header(envelope)
        out = connection.stream.out
        out += route
        size = len(body)
        if 0 < size <= connection.body_limit:
            out += b"%b%b\xce%b%b\xce" % (
                _FRAME.pack(HEADER, number, len(header)),
                header,
                _FRAME.pack(BODY, number, size),
                body,
            )
        else:
            out += b"%b%b\xce" % (_FRAME.pack(HEADER, number, len(header)), header)
            for start in range(0, size, connection.body_limit):
                part = body[start : start + connection.body_limit]
                out += b"%b%b\xce" % (_FRAME.pack(BODY, number, len(part)), part)
        if len(out) >= FLUSH_SIZE:
            connection.stream.flush()
        if self._confirms:
            self._sequence += 1
        return self._sequence

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        if self._error is not None or self._connection._lost is not None:
            logger.info("delivery %d is not settled (%s): its channel is closed", tag, verdict.value)
            return
        if verdict is Verdict.ACK:
            method, bits = ACK, int(multiple)
        elif verdict is Verdict.HAND_BACK:
            method, bits = NACK, 3 if multiple else 2
        elif multiple:
            raise ValueError("basic.reject takes one tag: REQUEUE and DEAD_LETTER are never multiple")
        else:
            method, bits = REJECT, int(verdict is Verdict.REQUEUE)
        out = self._connection.stream.out
        out += _SETTLE.pack(METHOD, self.number, 13, method, tag, bits, FRAME_END)
        if len(out) >= FLUSH_SIZE:
            self._connection.stream.flush()

    def close(self) -> None:
        if self._error is None and self._connection._lost is None:
            self._call(spec.Channel.Close(200, "closed by the client", 0, 0), "channel.close")
        self._error = self._error or ChannelClosed("the channel was closed")
        self._connection.forget(self)
        self._connection.drop_events(self)

    # Frames, as the connection reads them

    def method(self, data: bytes, start: int, end: int) -> None:
        (method,) = _METHOD_ID.unpack_from(data, start)
        at = start + 4
        if method == DELIVER:
            consumer_tag, at = decode_short(data, at)
            tag, redelivered = _TAG.unpack_from(data, at)
            exchange, at = decode_short(data, at + 9)
            routing_key, _ = decode_short(data, at)
            self._content = (tag, consumer_tag, exchange, routing_key, redelivered)
        elif method == ACK:
            tag, multiple = _TAG.unpack_from(data, at)
            self._connection.emit(self, self._sink.confirmed, tag, multiple, True)
        elif method == NACK:
            tag, multiple = _TAG.unpack_from(data, at)
            self._connection.emit(self, self._sink.confirmed, tag, bool(data[at + 8] & 1), False)
        elif method == RETURN:
            (code,) = _SHORT.unpack_from(data, at)
            text, at = decode_short(data, at + 2)
            exchange, at = decode_short(data, at)
            routing_key, _ = decode_short(data, at)
            self._content = (code, text, exchange, routing_key)
        else:
            self._handle(method, data[at:end])

    def header(self, payload: bytes) -> None:
        self._header = payload
        self._missing = body_size(payload)
        if self._missing == 0:
            self._complete(b"")

    def body(self, part: bytes) -> None:
        self._missing -= len(part)
        if self._missing == 0:
            if self._body:
                self._body.append(part)
                part = b"".join(self._body)
                self._body.clear()
            self._complete(part)
        elif self._missing > 0:
            self._body.append(part)
        else:
            raise MalformedMessage("the body is longer than its header says")

    def _complete(self, body: bytes) -> None:
        try:
            envelope = decode_envelope(self._header, body)
        except MalformedMessage as error:
            # Nobody is helped when the connection dies of it, again and again: without headers it is no task.
            logger.warning("a message's properties cannot be decoded, it goes on without: %s", error)
            envelope = Envelope(body=body)
        content = self._content
        if len(content) == 5:
            tag, consumer_tag, exchange, routing_key, redelivered = content
            delivery = Delivery(envelope, tag, self.generation, consumer_tag, exchange, routing_key, redelivered)
            self._connection._events.append((self, self._sink.delivered, (delivery,)))
        else:
            self._connection.emit(self, self._sink.returned, envelope, *content)

    def _handle(self, index: int, payload: bytes) -> None:
        method = spec.methods[index]()
        method.decode(payload)
        if index == CLOSE:
            self._close_from_server(method)
        elif index == CANCEL:
            self._connection.emit(self, self._sink.cancelled, method.consumer_tag)
        elif index == FLOW:
            self._connection.send(self.number, spec.Channel.FlowOk(method.active))
        else:
            self._reply = method

    def _close_from_server(self, method: Any) -> None:
        connection = self._connection
        connection.send(self.number, spec.Channel.CloseOk())
        connection.forget(self)
        blamed = method_name(method.class_id, method.method_id)
        operation = self._operation or ""
        if not operation.startswith(blamed):
            operation = blamed
        self._error = channel_error(method.reply_code, method.reply_text, operation)
        if self._operation is None:
            connection.emit(self, self._sink.closed, self._error)

    # Calls

    def _call(self, method: Any, operation: str, arguments: Arguments | None = None) -> Any:
        self._check()
        self._reply, self._operation = None, operation
        try:
            self._connection.call(
                self.number, method, arguments, operation, lambda: self._reply is not None or self._error is not None
            )
        finally:
            self._operation = None
        if self._error is not None:
            raise self._error
        return self._reply

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        self._connection.check()

    def _route(self, exchange: str, routing_key: str, mandatory: bool) -> bytes:
        payload = b"".join(
            (
                _METHOD_ID.pack(spec.Basic.Publish.INDEX),
                b"\0\0",
                encode_short(exchange),
                encode_short(routing_key),
                b"\x01" if mandatory else b"\0",
            )
        )
        frame = _FRAME.pack(METHOD, self.number, len(payload)) + payload + END
        if len(self._routes) >= CACHED_ROUTES:
            self._routes.clear()
        self._routes[exchange, routing_key, mandatory] = frame
        return frame


def _method(op: DeclareOp) -> Any:
    """The method of an operation; its arguments are written by `PikaConnection.send`."""
    match op:
        case DeclareExchange():
            return spec.Exchange.Declare(
                exchange=op.name,
                type=op.type,
                passive=op.passive,
                durable=op.durable,
                auto_delete=op.auto_delete,
                internal=op.internal,
            )
        case DeclareQueue():
            return spec.Queue.Declare(
                queue=op.name,
                passive=op.passive,
                durable=op.durable,
                exclusive=op.exclusive,
                auto_delete=op.auto_delete,
            )
        case BindQueue():
            return spec.Queue.Bind(queue=op.queue, exchange=op.exchange, routing_key=op.routing_key)
        case UnbindQueue():
            return spec.Queue.Unbind(queue=op.queue, exchange=op.exchange, routing_key=op.routing_key)
        case BindExchange():
            return spec.Exchange.Bind(destination=op.destination, source=op.source, routing_key=op.routing_key)
        case DeleteQueue():
            return spec.Queue.Delete(queue=op.name, if_unused=op.if_unused, if_empty=op.if_empty)
        case DeleteExchange():
            return spec.Exchange.Delete(exchange=op.name, if_unused=op.if_unused)
        case PurgeQueue():
            return spec.Queue.Purge(queue=op.name)
