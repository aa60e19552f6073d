"""ChannelPort: a channel on the wire.

Frames of one number in, calls of `Channel` out; what the channel says becomes frames.
"""

import struct
from collections.abc import Callable

from pamqp import commands

from amqtask.devbroker import hotpath, tables
from amqtask.devbroker.channel import Channel
from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.errors import Refusal, not_implemented, precondition_failed, syntax_error, unexpected_frame
from amqtask.devbroker.frames import BODY, HEADER, METHOD, Method, decode_method, encode_method, made
from amqtask.devbroker.message import Message
from amqtask.devbroker.properties import Properties, scan

Write = Callable[[bytes], None]

_HEADER = struct.Struct(">HHQ")
_BASIC = 60


class ChannelPort:
    """Reads the frames of one channel; an open one has a `Channel`, one that the broker has closed waits for close-ok.

    `handle` answers the methods that are not on the hot path.
    """

    def __init__(
        self,
        number: int,
        write: Write,
        *,
        frame_max: int,
        cancel_notify: bool,
        handle: Callable[["ChannelPort", Method], None],
    ) -> None:
        self.number = number
        self.channel: Channel | None = None
        self.is_closing = False
        self.last_method = (0, 0)
        self._write = write
        self._frame_max = frame_max
        self._cancel_notify = cancel_notify
        self._handle = handle
        # The content that is coming in: where to, its properties once they are here, and its body so far.
        self._address: bytes | None = None
        self._mandatory = False
        self._known: Properties | None = None
        self._size = 0
        self._parts: list[bytes] = []
        self._received = 0

    @property
    def open(self) -> Channel:
        """The channel of a port that is in use."""
        if self.channel is None:
            raise unexpected_frame(f"channel {self.number} is not open")
        return self.channel

    # From the client.

    def receive(self, kind: int, payload: bytes) -> None:
        """Take one frame. Raises SoftError and HardError."""
        if kind == METHOD:
            self._receive_method(payload)
        elif kind == HEADER:
            self._receive_header(payload)
        elif kind == BODY:
            self._receive_body(payload)

    def _receive_method(self, payload: bytes) -> None:
        index = payload[:4]
        if self._address is not None:
            raise unexpected_frame("expected content, got a method")
        if index == hotpath.PUBLISH:
            self.last_method = (60, 40)
            self._address, bits = hotpath.read_publish(payload)
            self._mandatory = bool(bits & 1)
            if bits & 2:
                raise not_implemented("immediate=true")
        elif index == hotpath.ACK:
            self.last_method = (60, 80)
            tag, multiple = hotpath.read_ack(payload)
            self.open.ack(tag, multiple=multiple)
        else:
            method = decode_method(payload)
            self.last_method = (method.index >> 16, method.index & 0xFFFF)
            self._handle(self, method)

    def _receive_header(self, payload: bytes) -> None:
        if self._address is None or self._known is not None:
            raise unexpected_frame("content header without a method that has content")
        if len(payload) < _HEADER.size + 2:
            raise syntax_error("content header ends too early")
        kind, _, size = _HEADER.unpack_from(payload)
        if kind != _BASIC:
            raise unexpected_frame(f"content header of class {kind}")
        self._known = scan(payload[_HEADER.size :])
        self._size = size
        limit = self.open.faults.message_size_max or self.open.context.profile.max_message_size
        if size > limit:
            raise precondition_failed(f"message size {size} is larger than configured max size {limit}")
        if not size:
            self._publish(b"")
        elif not self.open.session.has_published:
            # An alarm stops a connection at its first content header: the body waits with all that follows.
            self.open.session.note_publish()

    def _receive_body(self, payload: bytes) -> None:
        if self._known is None:
            raise unexpected_frame("content body without a content header")
        self._received += len(payload)
        if self._received > self._size:
            raise unexpected_frame("content body is longer than its header says")
        if self._received < self._size:
            self._parts.append(payload)
        elif self._parts:
            self._publish(b"".join((*self._parts, payload)))
        else:
            self._publish(payload)

    def _publish(self, body: bytes) -> None:
        address, known, mandatory = self._address, self._known, self._mandatory
        self._forget_content()
        if address is None or known is None:
            raise unexpected_frame("content without a method")
        channel = self.open
        route = channel.vhost.routes.get(address)
        if route is not None:
            channel.publish(route.exchange, route.routing_key, known, body, mandatory=mandatory, address=address)
        else:
            exchange, routing_key = map(tables.text, hotpath.read_address(address))
            channel.publish(exchange, routing_key, known, body, mandatory=mandatory, address=address)

    def _forget_content(self) -> None:
        self._address = self._known = None
        self._size = self._received = 0
        if self._parts:
            self._parts = []

    # To the client.

    def send(self, method: Method) -> None:
        self._write(encode_method(method, self.number))

    def send_content(self, method: Method, message: Message) -> None:
        self.send(method)
        self._write(hotpath.content(self.number, message.properties, message.body, self._frame_max))

    def refuse(self, error: Refusal) -> None:
        """Close the channel because of what the client did, or of what somebody wants done to it."""
        self._forget_content()
        self.is_closing = True
        if self.channel is not None:
            self.channel.close()
        class_id, method_id = self.last_method
        self.send(commands.Channel.Close(error.code, error.text, class_id, method_id))

    def deliver(self, consumer: Consumer, delivery_tag: int, redelivered: bool, message: Message) -> None:
        prefix = consumer.delivery_prefix
        if not prefix:
            prefix = consumer.delivery_prefix = hotpath.delivery_prefix(tables.wire(consumer.tag))
        self._write(
            hotpath.deliver(self.number, prefix, delivery_tag, redelivered, message.address)
            + hotpath.content(self.number, message.properties, message.body, self._frame_max)
        )

    def returned(self, code: int, text: str, message: Message) -> None:
        method = made(
            commands.Basic.Return,
            reply_code=code,
            reply_text=text,
            exchange=message.exchange,
            routing_key=message.routing_key,
        )
        self.send_content(method, message)

    def confirmed(self, sequence: int, *, multiple: bool, ok: bool) -> None:
        if ok:
            self._write(hotpath.ack(self.number, sequence, multiple=multiple))
        else:
            self.send(commands.Basic.Nack(sequence, multiple, False))

    def cancelled(self, consumer_tag: str) -> None:
        if self._cancel_notify:
            self.send(made(commands.Basic.Cancel, consumer_tag=consumer_tag, nowait=True))

    def closed(self, error: Refusal) -> None:
        self.last_method = (0, 0)
        self.refuse(error)
