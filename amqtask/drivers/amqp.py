"""The driver over py-amqp.

py-amqp does the handshake (`amqp.Connection`) and the methods that wait for an answer (`amqp.Channel`). Its transport
is replaced by a Stream, and its reading by the loop that both adapters share.
"""

import platform
import time
from collections.abc import Callable
from typing import Any

import amqp
import amqp.exceptions
import amqp.protocol
import amqp.serialization
import amqp.spec

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
from amqtask.drivers.frames import METHOD, PROTOCOL_HEADER
from amqtask.drivers.replies import describe
from amqtask.drivers.stream import Duplex, Stream, dial
from amqtask.drivers.wire import Receiver, Tuning, WireConnection
from amqtask.drivers.wirechannel import WireChannel
from amqtask.errors import BrokerError, MalformedMessage


class AmqpDriver:
    """`amqtask.drivers.base.Driver` over py-amqp."""

    def connect(self, address: Address, timeout: float) -> "AmqpConnection":
        deadline = time.monotonic() + timeout
        stream = Stream(dial(address, deadline))
        try:
            connection = AmqpConnection(address, stream)
            connection.open(deadline, timeout)
        except BaseException:
            stream.close()
            raise
        return connection


class AmqpConnection(WireConnection["AmqpChannel"]):
    """`amqtask.drivers.base.Connection` with py-amqp's handshake."""

    def __init__(self, address: Address, stream: Duplex) -> None:
        super().__init__(address, stream)
        self.library = _Library(address, stream)

    def forget(self, channel: Receiver) -> None:
        super().forget(channel)
        if library := self.library.channels.get(channel.number):
            library.collect()

    def _greet(self) -> None:
        self.stream.out += PROTOCOL_HEADER

    def _handshake(self, payload: bytes) -> Tuning | None:
        library = self.library
        try:
            library.on_inbound_frame((METHOD, 0, payload))
        except amqp.exceptions.AMQPError as error:
            raise MalformedMessage(f"py-amqp does not understand it: {error!r}") from error
        if not library._handshake_complete:
            return None
        return Tuning(heartbeat=library.heartbeat, frame_max=library.frame_max, channel_max=library.channel_max)

    def _new_channel(self, number: int, sink: ChannelSink, confirms: bool) -> "AmqpChannel":
        return AmqpChannel(self, number, sink, confirms)

    def _open_channel(self, channel: "AmqpChannel") -> None:
        channel.open()


class AmqpChannel(WireChannel):
    """`amqtask.drivers.base.Channel` with py-amqp's methods."""

    def __init__(self, connection: AmqpConnection, number: int, sink: ChannelSink, confirms: bool) -> None:
        super().__init__(connection, number, sink, confirms)
        self._library = connection.library
        self._channel = amqp.Channel(connection.library, number)

    def open(self) -> None:
        self._call("channel.open", self._channel.open)
        if self.confirms:
            self._call("confirm.select", self._channel.confirm_select)

    def declare(self, op: DeclareOp) -> QueueInfo | None:
        reply = self._call(describe(op), self._request, op)
        match op:
            case DeclareQueue():
                return QueueInfo(name=reply.queue, messages=reply.message_count, consumers=reply.consumer_count)
            case DeleteQueue() | PurgeQueue():
                return QueueInfo(name=op.name, messages=reply, consumers=0)
            case _:
                return None

    def qos(self, prefetch: int) -> None:
        self._call(f"basic.qos of {prefetch}", self._channel.basic_qos, 0, prefetch, False)

    def consume(self, queue: str, *, no_ack: bool, exclusive: bool, arguments: Arguments) -> str:
        fields = (0, queue, "", False, no_ack, exclusive, False)
        operation = f"basic.consume of queue {queue!r}"
        method, answer = amqp.spec.Basic.Consume, amqp.spec.Basic.ConsumeOk
        return str(self._call(operation, self._ask, method, "Bssbbbb", fields, arguments, answer)[0])

    def cancel(self, consumer_tag: str) -> None:
        self._call(f"basic.cancel of consumer {consumer_tag!r}", self._channel.basic_cancel, consumer_tag)

    def _answer(self, method: int, payload: bytes) -> None:
        self._channel.dispatch_method((method >> 16, method & 0xFFFF), payload, None)

    def _call(self, operation: str, function: Callable[..., Any], *args: Any) -> Any:
        with self._waiting(operation):
            self._library.turn = self._turn
            try:
                return function(*args)
            except amqp.exceptions.AMQPError as error:
                code, text = error.reply_code or None, str(error.reply_text or "")
                raise BrokerError(f"{operation}: {error}", code=code, text=text) from error

    def _request(self, op: DeclareOp) -> Any:
        channel, spec = self._channel, amqp.spec
        fields: tuple[object, ...]
        match op:
            case DeclareExchange():
                kind = (op.passive, op.durable, op.auto_delete, op.internal, False)
                fields = (0, op.name, op.type, *kind)
                return self._ask(spec.Exchange.Declare, "Bssbbbbb", fields, op.arguments, spec.Exchange.DeclareOk)
            case DeclareQueue():
                fields = (0, op.name, op.passive, op.durable, op.exclusive, op.auto_delete, False)
                reply = self._ask(spec.Queue.Declare, "Bsbbbbb", fields, op.arguments, spec.Queue.DeclareOk)
                return amqp.protocol.queue_declare_ok_t(*reply)
            case BindQueue():
                fields = (0, op.queue, op.exchange, op.routing_key, False)
                return self._ask(spec.Queue.Bind, "Bsssb", fields, op.arguments, spec.Queue.BindOk)
            case UnbindQueue():
                fields = (0, op.queue, op.exchange, op.routing_key)
                return self._ask(spec.Queue.Unbind, "Bsss", fields, op.arguments, spec.Queue.UnbindOk)
            case BindExchange():
                fields = (0, op.destination, op.source, op.routing_key, False)
                return self._ask(spec.Exchange.Bind, "Bsssb", fields, op.arguments, spec.Exchange.BindOk)
            case DeleteQueue():
                return channel.queue_delete(op.name, if_unused=op.if_unused, if_empty=op.if_empty)
            case DeleteExchange():
                return channel.exchange_delete(op.name, if_unused=op.if_unused)
            case PurgeQueue():
                return channel.queue_purge(op.name)

    def _ask(self, method: Any, layout: str, fields: tuple[object, ...], arguments: Arguments, answer: Any) -> Any:
        """A method whose last argument is a table: py-amqp's tables cannot hold every type, so it is written here."""
        content = amqp.serialization.dumps(layout, fields) + encode_table(arguments)
        self._library.frame_writer(METHOD, self.number, method, content, None)
        return self._channel.wait(answer, returns_tuple=True)


class _Library(amqp.Connection):  # type: ignore[misc]  # py-amqp has no types
    """py-amqp's connection, which waits by turning our loop."""

    def __init__(self, address: Address, stream: Duplex) -> None:
        super().__init__(
            host=f"{address.host}:{address.port}",
            userid=address.user,
            password=address.password,
            login_method=address.mechanism,
            virtual_host=address.vhost,
            heartbeat=address.heartbeat,
            client_properties={
                "product": "amqtask",
                "product_version": "",
                "platform": f"Python {platform.python_version()}, py-amqp {amqp.__version__}",
                "connection_name": address.name,
                "capabilities": {"publisher_confirms": True, "basic.nack": True, "exchange_exchange_bindings": True},
            },
        )
        self.turn: Callable[[], None] = _nobody_waits
        self.transport = _Transport(stream)
        self.on_inbound_frame = self.frame_handler_cls(self, self.on_inbound_method)
        self.frame_writer = self.frame_writer_cls(self, self.transport)

    def blocking_read(self, timeout: float | None = None) -> bool:
        """py-amqp calls this until what it waits for was dispatched."""
        self.turn()
        return True


class _Transport:
    """What py-amqp writes to."""

    connected = True

    def __init__(self, stream: Duplex) -> None:
        self._stream = stream

    def write(self, octets: memoryview) -> None:
        """Take a copy: py-amqp uses its buffer again."""
        self._stream.out += octets

    def close(self) -> None:
        """The stream is the connection's."""


def _nobody_waits() -> None:
    raise AssertionError("py-amqp reads outside of a call")
