"""The driver over pika.

pika does the handshake (`pika.connection.Connection`, through the hooks that its own adapters use) and writes and
reads the methods that wait for an answer (`pika.spec`).
"""

import platform
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pika
import pika.connection
import pika.credentials
import pika.exceptions
import pika.frame
from pika import spec

from amqtask.core.address import Address
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
from amqtask.core.fieldtable import encode_table
from amqtask.drivers.base import ChannelSink
from amqtask.drivers.frames import method_frame
from amqtask.drivers.replies import describe
from amqtask.drivers.stream import Duplex, Stream, dial
from amqtask.drivers.wire import Tuning, WireConnection
from amqtask.drivers.wirechannel import WireChannel
from amqtask.errors import MalformedMessage


class PikaDriver:
    """`amqtask.drivers.base.Driver` over pika."""

    def connect(self, address: Address, timeout: float) -> "PikaConnection":
        deadline = time.monotonic() + timeout
        stream = Stream(dial(address, deadline))
        try:
            connection = PikaConnection(address, stream)
            connection.open(deadline, timeout)
        except BaseException:
            stream.close()
            raise
        return connection


class PikaConnection(WireConnection["PikaChannel"]):
    """`amqtask.drivers.base.Connection` with pika's handshake."""

    def __init__(self, address: Address, stream: Duplex) -> None:
        super().__init__(address, stream)
        self._pika = _Handshake(address, stream)

    def _greet(self) -> None:
        self._pika._on_stream_connected()  # pika's adapters call it when the socket is connected

    def _handshake(self, payload: bytes) -> Tuning | None:
        wire = self._pika
        frame = pika.frame.decode_frame(_frame(payload))[1]
        try:
            wire._process_frame(frame)  # pika's adapters come here with what they read
        except pika.exceptions.AMQPError as error:
            raise MalformedMessage(f"pika does not understand it: {error!r}") from error
        if wire.failure is not None:
            raise MalformedMessage(f"pika does not understand it: {wire.failure!r}") from wire.failure
        if not wire.is_open:
            return None
        tuned = wire.params
        return Tuning(heartbeat=tuned.heartbeat, frame_max=tuned.frame_max, channel_max=tuned.channel_max)

    def _new_channel(self, number: int, sink: ChannelSink, confirms: bool) -> "PikaChannel":
        return PikaChannel(self, number, sink, confirms)

    def _open_channel(self, channel: "PikaChannel") -> None:
        channel.open()


class PikaChannel(WireChannel):
    """`amqtask.drivers.base.Channel` with pika's methods."""

    _reply: Any = None

    def open(self) -> None:
        self._call(spec.Channel.Open(), "channel.open")
        if self.confirms:
            self._call(spec.Confirm.Select(), "confirm.select")

    def declare(self, op: DeclareOp) -> QueueInfo | None:
        reply = self._call(_method(op), describe(op), getattr(op, "arguments", None))
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

    def _answer(self, method: int, payload: bytes) -> None:
        self._reply = spec.methods[method]()
        self._reply.decode(payload, 4)

    def _call(self, method: Any, operation: str, arguments: Arguments | None = None) -> Any:
        with self._waiting(operation):
            self._reply = None
            content = b"".join(method.encode())
            if arguments is not None:
                # The last argument, empty till now: pika's tables cannot hold every type.
                content = content[:-4] + encode_table(arguments)
            self.connection.stream.out += method_frame(self.number, method.INDEX, content)
            while self._reply is None:
                self._turn()
        return self._reply


class _Handshake(pika.connection.Connection):  # type: ignore[misc]  # pika has no types
    """pika's side of channel 0 until the connection is open. It neither reads nor keeps time."""

    def __init__(self, address: Address, stream: Duplex) -> None:
        self._stream = stream
        self.failure: Exception | None = None
        super().__init__(_parameters(address), internal_connection_workflow=False)

    def _adapter_emit_data(self, data: bytes) -> None:
        self._stream.out += data

    def _terminate_stream(self, error: Exception | None) -> None:
        self.failure = error

    def _create_heartbeat_checker(self) -> None:
        return None

    def _adapter_connect_stream(self) -> NoReturn:
        raise NotImplementedError("the stream is connected before pika is told")

    def _adapter_disconnect_stream(self) -> NoReturn:
        raise NotImplementedError("pika is not asked to disconnect")

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


def _frame(payload: bytes) -> bytes:
    return method_frame(0, int.from_bytes(payload[:4]), payload[4:])


def _method(op: DeclareOp) -> Any:
    """The method of an operation; `_call` writes its arguments."""
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
