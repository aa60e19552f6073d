"""A channel on a WireConnection: messages, confirms and settlements, which never reach the library."""

import abc
import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from amqtask.core.alike import HeaderReader
from amqtask.core.content import body_size, encode_header
from amqtask.core.declare import Arguments, DeclareOp, QueueInfo
from amqtask.core.fieldtable import decode_short
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.drivers import frames
from amqtask.drivers.base import ChannelSink
from amqtask.drivers.replies import channel_error, method_name
from amqtask.drivers.stream import FLUSH_SIZE
from amqtask.drivers.wire import WireConnection
from amqtask.errors import ChannelClosed, MalformedMessage

logger = logging.getLogger(__name__)

CACHED_ROUTES = 1024

_generations = itertools.count(1)


class WireChannel(abc.ABC):
    """`drivers.base.Channel` but for the methods that wait for an answer, which a subclass gives to its library."""

    def __init__(self, connection: WireConnection[Any], number: int, sink: ChannelSink, confirms: bool) -> None:
        self.generation = next(_generations)
        self.number = number
        self.confirms: Final = confirms
        self.connection: Final[WireConnection[Any]] = connection
        self._sink = sink
        self._sequence = 0
        self._error: ChannelClosed | None = None
        self._operation: str | None = None
        self._deadline = 0.0
        self._close_answered = False
        self._routes: dict[tuple[str, str, bool], bytes] = {}
        self._delivered: tuple[int, str, str, str, bool] | None = None
        self._returned: tuple[int, str, str, str] = (0, "", "", "")
        self._headers = HeaderReader()
        self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0

    # What a library does

    @abc.abstractmethod
    def open(self) -> None:
        """`channel.open`, and `confirm.select` on a channel with confirms."""

    @abc.abstractmethod
    def declare(self, op: DeclareOp) -> QueueInfo | None: ...

    @abc.abstractmethod
    def qos(self, prefetch: int) -> None: ...

    @abc.abstractmethod
    def consume(self, queue: str, *, no_ack: bool, exclusive: bool, arguments: Arguments) -> str: ...

    @abc.abstractmethod
    def cancel(self, consumer_tag: str) -> None: ...

    @abc.abstractmethod
    def _answer(self, method: int, payload: bytes) -> None:
        """A method frame with an answer came."""

    # The port

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> int:
        self._check()
        connection = self.connection
        route = self._routes.get((exchange, routing_key, mandatory)) or self._route(exchange, routing_key, mandatory)
        header = encode_header(envelope)
        out = connection.stream.out
        out += route
        frames.write_content(out, self.number, header, envelope.body, connection.body_limit)
        if len(out) >= FLUSH_SIZE:
            connection.stream.flush()
        if self.confirms:
            self._sequence += 1
        return self._sequence

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        frame = frames.settle_frame(self.number, tag, verdict, multiple)
        if self._error is not None or self.connection.lost is not None:
            logger.info("delivery %d is not settled (%s): its channel is closed", tag, verdict.value)
            return
        out = self.connection.stream.out
        out += frame
        if len(out) >= FLUSH_SIZE:
            self.connection.stream.flush()

    def close(self) -> None:
        if self._error is None and self.connection.lost is None:
            with self._waiting("channel.close"):
                self.connection.stream.out += frames.close_frame(self.number, frames.CHANNEL_CLOSE)
                while not self._close_answered and self._error is None:
                    self.connection.turn(self._deadline, "channel.close")
        self._error = self._error or ChannelClosed("the channel was closed from here")
        self.connection.forget(self)
        self.connection.drop_events(self)

    # Frames, as the connection splits them off

    def method(self, data: bytes, start: int, end: int) -> None:
        (method,) = frames.method_id(data, start)
        at = start + 4
        if method == frames.BASIC_DELIVER:
            self._delivered = frames.read_deliver(data, at)
        elif method == frames.BASIC_ACK:
            sequence, multiple = frames.read_confirm(data, at)
            self._emit(self._sink.confirmed, sequence, multiple, True)
        elif method == frames.BASIC_NACK:
            sequence, multiple = frames.read_confirm(data, at)
            self._emit(self._sink.confirmed, sequence, multiple, False)
        elif method == frames.BASIC_RETURN:
            self._delivered, self._returned = None, frames.read_return(data, at)
        elif method == frames.BASIC_CANCEL:
            self._emit(self._sink.cancelled, decode_short(data, at)[0])
        elif method == frames.CHANNEL_CLOSE:
            self._close_from_server(*frames.read_close(data, at))
        elif method == frames.CHANNEL_CLOSE_OK:
            self._close_answered = True
        elif method == frames.CHANNEL_FLOW:
            self.connection.stream.out += frames.method_frame(self.number, frames.CHANNEL_FLOW_OK, data[at:end])
        else:
            self._answer(method, data[start:end])

    def header(self, payload: bytes) -> None:
        self._header = payload
        self._missing = body_size(payload)
        if self._missing == 0:
            self._complete(b"")

    def body(self, part: bytes) -> None:
        self._missing -= len(part)
        if self._missing > 0:
            self._parts.append(part)
        elif self._missing < 0:
            raise MalformedMessage("the body is longer than its header says")
        elif self._parts:
            self._parts.append(part)
            whole = b"".join(self._parts)
            self._parts.clear()
            self._complete(whole)
        else:
            self._complete(part)

    def _complete(self, body: bytes) -> None:
        try:
            envelope = self._headers.decode(self._header, body)
        except MalformedMessage as error:
            # Letting the connection die of it would bring the message back, for ever. Without headers it is no task.
            logger.warning("a message's properties cannot be decoded, it goes on without: %s", error)
            envelope = Envelope(body=body)
        if self._delivered is None:
            self._emit(self._sink.returned, envelope, *self._returned)
            return
        tag, consumer_tag, exchange, routing_key, redelivered = self._delivered
        delivery = Delivery(envelope, tag, self.generation, consumer_tag, exchange, routing_key, redelivered)
        self.connection.events.append((self, self._sink.delivered, (delivery,)))

    def _close_from_server(self, code: int, text: str, class_id: int, method: int) -> None:
        connection = self.connection
        connection.stream.out += frames.method_frame(self.number, frames.CHANNEL_CLOSE_OK)
        connection.forget(self)
        blamed = method_name(class_id, method)
        operation = self._operation or ""
        self._error = channel_error(code, text, operation if operation.startswith(blamed) else blamed)
        if self._operation is None:
            self._emit(self._sink.closed, self._error)

    def _emit(self, sink: Callable[..., None], *args: Any) -> None:
        self.connection.events.append((self, sink, args))

    # Waiting

    @contextmanager
    def _waiting(self, operation: str) -> Iterator[None]:
        """While an answer is waited for; `operation` is for messages."""
        self._check()
        self._operation, self._deadline = operation, self.connection.patience()
        try:
            yield
        finally:
            self._operation = None

    def _turn(self) -> None:
        """Turn the loop once within `_waiting`. Raises ChannelClosed or ConnectionLost."""
        self.connection.turn(self._deadline, self._operation or "")
        if self._error is not None:
            raise self._error

    def _check(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error), code=self._error.code, text=self._error.text)
        if self.connection.lost is not None:
            self.connection.check()

    def _route(self, exchange: str, routing_key: str, mandatory: bool) -> bytes:
        frame = frames.publish_frame(self.number, exchange, routing_key, mandatory)
        if len(self._routes) >= CACHED_ROUTES:
            self._routes.clear()
        self._routes[exchange, routing_key, mandatory] = frame
        return frame
