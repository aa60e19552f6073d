"""What the adapters of both AMQP libraries share: turning the loop, heartbeats, and the frames of messages.

The libraries do the handshake and the methods that wait for an answer. On the way from socket to consumer each of them
costs more than RabbitMQ does: pika copies the rest of its buffer for every frame, py-amqp makes two system calls for
one. So frames are split here, and those of messages, confirms and settlements never reach the library.

Writing only fills a buffer. It is handed to the kernel at the beginning of every `poll` and of every wait for an
answer, and at once when it holds `stream.FLUSH_SIZE` octets.
"""

import abc
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from amqtask.core.address import Address
from amqtask.core.fieldtable import decode_short, decode_table
from amqtask.core.message import HeaderValue
from amqtask.drivers import frames
from amqtask.drivers.base import ChannelSink
from amqtask.drivers.replies import handshake_error, method_name
from amqtask.drivers.stream import Duplex, explain
from amqtask.errors import BrokerError, ConnectionFailed, ConnectionLost, MalformedMessage

CLOSE_TIMEOUT = 3.0
DEFAULT_PATIENCE = 15
ANSWER_HEARTBEATS = 4
"""A broker that sends heartbeats but no answer is given up after this many heartbeat times."""
PROTOCOL_ERRORS = (MalformedMessage, struct.error, LookupError, ValueError, TypeError)


class Receiver(Protocol):
    """A channel as its connection sees it."""

    number: int

    def method(self, data: bytes, start: int, end: int) -> None:
        """A method frame's payload lies in `data` between `start` and `end`."""

    def header(self, payload: bytes) -> None:
        """A content header came."""

    def body(self, part: bytes) -> None:
        """A part of a body came."""


ChannelT = TypeVar("ChannelT", bound=Receiver)
Event = tuple[Receiver, Callable[..., None], tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What client and server agreed on: the heartbeat in seconds (0: none), the largest frame, the highest channel."""

    heartbeat: int
    frame_max: int
    channel_max: int


class WireConnection(abc.ABC, Generic[ChannelT]):
    """`drivers.base.Connection` but for the handshake, which a subclass gives to its library."""

    def __init__(self, address: Address, stream: Duplex) -> None:
        self.address: Final = address
        self.stream: Final = stream
        self.blocked: str | None = None
        self.lost: ConnectionLost | None = None
        self.events: deque[Event] = deque()
        self.body_limit = 4096 - frames.FRAME_OVERHEAD
        self._tuning: Tuning | None = None
        self._channels: dict[int, ChannelT] = {}
        self._properties: dict[str, HeaderValue] = {}
        self._rest = b""
        self._logged_in = False
        self._goodbye = False
        self._closed = False
        self._rung = False
        self._heartbeat = 0
        self._half_beat = float("inf")

    # What a library does

    @abc.abstractmethod
    def _greet(self) -> None:
        """Begin the handshake: the protocol header."""

    @abc.abstractmethod
    def _handshake(self, payload: bytes) -> Tuning | None:
        """A method of channel 0 came; what was agreed on once the connection is open."""

    @abc.abstractmethod
    def _new_channel(self, number: int, sink: ChannelSink, confirms: bool) -> ChannelT:
        """A channel that is not open yet."""

    @abc.abstractmethod
    def _open_channel(self, channel: ChannelT) -> None:
        """Open it, and wait for the answer."""

    # The port

    @property
    def server(self) -> str:
        return " ".join(str(self._properties.get(key, "")) for key in ("product", "version")).strip() or "unknown"

    def open(self, deadline: float, timeout: float) -> None:
        """Do the handshake until `deadline`; `timeout` is for the message.

        Raises:
            ConnectionFailed: and its subclasses, as `drivers.base.Driver.connect` says.
        """
        try:
            self._greet()
            while self._tuning is None:
                self.check()
                if time.monotonic() >= deadline:
                    self._lose(f"it accepted the connection, but the handshake was not done within {timeout:g} s")
                else:
                    self._turn(deadline)
        except ConnectionLost as error:
            if error.code:
                raise handshake_error(self.address, error.code, error.text, opening=self._logged_in) from error
            raise ConnectionFailed(f"cannot reach {error}") from error

    def channel(self, sink: ChannelSink, *, confirms: bool) -> ChannelT:
        self.check()
        limit = (self._tuning.channel_max if self._tuning else 0) or 65535
        number = next((n for n in range(1, limit + 1) if n not in self._channels), None)
        if number is None:
            raise BrokerError(f"{self.address}: all {limit} channels of the connection are in use")
        channel = self._channels[number] = self._new_channel(number, sink, confirms)
        self._open_channel(channel)
        return channel

    def poll(self, timeout: float) -> None:
        if self.events:
            self.stream.flush()
            self._dispatch()
            return
        self.check()
        deadline = time.monotonic() + (0 if self._rung else timeout)
        self._rung = False
        blocked = self.blocked
        while True:
            rung = self._turn(deadline)
            if self.events:
                self._dispatch()
                return
            self.check()
            if rung or self.blocked is not blocked or time.monotonic() >= deadline:
                return

    def wake(self) -> None:
        self.stream.ring()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self.lost is None:
                self.stream.out += frames.close_frame(0, frames.CONNECTION_CLOSE)
                deadline = time.monotonic() + CLOSE_TIMEOUT
                while self.lost is None and not self._goodbye and time.monotonic() < deadline:
                    self._turn(deadline)
        finally:
            self._lose("it was closed from here")
            self.events.clear()
            self.stream.close()

    # For the channels

    def check(self) -> None:
        """Raise ConnectionLost when the connection is gone."""
        if self.lost is not None:
            raise ConnectionLost(str(self.lost), code=self.lost.code, text=self.lost.text) from self.lost.__cause__

    def patience(self) -> float:
        """The instant until which an answer is waited for."""
        return time.monotonic() + ANSWER_HEARTBEATS * (self._heartbeat or DEFAULT_PATIENCE)

    def turn(self, deadline: float, operation: str) -> None:
        """Turn the loop once for whoever waits for an answer. Raises ConnectionLost."""
        self.check()
        if time.monotonic() >= deadline:
            self._lose(f"{operation} was not answered in time", TimeoutError(operation))
            self.check()
        # A ring is meant for a poll.
        self._rung = self._turn(deadline) or self._rung

    def forget(self, channel: Receiver) -> None:
        """The channel is closed: nothing more comes for it, and its number is free."""
        self._channels.pop(channel.number, None)

    def drop_events(self, channel: Receiver) -> None:
        """The channel was closed from here: its sink is not called any more."""
        self.events = deque(event for event in self.events if event[0] is not channel)

    # The loop

    def _turn(self, deadline: float) -> bool:
        """Write, then read once or wait for something to read; True when a ring ended the wait."""
        stream = self.stream
        stream.flush()
        if self._receive():
            if stream.last_read - stream.last_write > self._half_beat:
                stream.out += frames.HEARTBEAT_FRAME
            return False
        if self.lost is not None:
            return False
        now = time.monotonic()
        if not self._heartbeat:
            return stream.wait(deadline - now)
        if now - stream.last_read >= self._heartbeat:
            self._lose(f"nothing came for {self._heartbeat} s (heartbeat)", TimeoutError("heartbeat"))
            return False
        beat = stream.last_write + self._half_beat
        if now >= beat:
            # What is stuck in the buffer speaks for us as well as a heartbeat would, once it moves.
            if not stream.out:
                stream.out += frames.HEARTBEAT_FRAME
                stream.flush()
            beat = now + self._half_beat
        return stream.wait(min(deadline, beat, stream.last_read + self._heartbeat) - now)

    def _receive(self) -> bool:
        """Read what is there, once; False when nothing was."""
        try:
            data = self.stream.read()
        except OSError as error:
            self._lose(explain(error), error)
            return False
        if data is None:
            return False
        if not data:
            hint = "" if self._tuning else " during the handshake"
            self._lose(f"the broker closed the connection{hint}", self.stream.lost)
            return False
        try:
            self._split(self._rest + data if self._rest else data)
        except PROTOCOL_ERRORS as error:
            self._lose(f"what it sent is not AMQP 0-9-1: {error}", error)
        return True

    def _split(self, data: bytes) -> None:
        start_of, channels, size, offset = frames.frame_start, self._channels, len(data), 0
        while size - offset >= frames.FRAME_OVERHEAD:
            kind, number, length = start_of(data, offset)
            if kind > 3 and kind != 8:
                raise MalformedMessage(f"it begins with {data[offset : offset + 8]!r}")
            start = offset + 7
            end = start + length
            if end >= size:
                break
            if data[end] != 0xCE:
                raise MalformedMessage("a frame does not end where it should")
            channel = channels.get(number)
            if channel is None:
                if number == 0 and kind == 1:
                    self._control(data[start:end])
            elif kind == 3:
                channel.body(data[start:end])
            elif kind == 2:
                channel.header(data[start:end])
            else:
                channel.method(data, start, end)
            offset = end + 1
        self._rest = data[offset:]

    def _control(self, payload: bytes) -> None:
        (method,) = frames.method_id(payload)
        if method == frames.CONNECTION_CLOSE:
            code, text, class_id, blamed = frames.read_close(payload, 4)
            self.stream.out += frames.method_frame(0, frames.CONNECTION_CLOSE_OK)
            self.stream.flush()
            operation = f" for {name}" if (name := method_name(class_id, blamed)) else ""
            self._lose(f"the broker closed the connection{operation}: {code} {text}", code=code, text=text)
        elif method == frames.CONNECTION_CLOSE_OK:
            self._goodbye = True
        elif method == frames.CONNECTION_BLOCKED:
            self.blocked = decode_short(payload, 4)[0] or "no reason given"
        elif method == frames.CONNECTION_UNBLOCKED:
            self.blocked = None
        else:
            self._shake_hands(method, payload)

    def _shake_hands(self, method: int, payload: bytes) -> None:
        if method == frames.CONNECTION_START:
            self._properties, at = decode_table(payload, 6)
            offered = payload[at + 4 : at + 4 + int.from_bytes(payload[at : at + 4])].decode().split()
            if self.address.mechanism not in offered:
                text = f"the broker offers the mechanisms {', '.join(offered)}, not {self.address.mechanism}"
                self._lose(text, code=403, text=text)
                return
        self._logged_in = self._logged_in or method == frames.CONNECTION_TUNE
        tuning = self._handshake(payload)
        if tuning is not None:
            self._tuning = tuning
            self._heartbeat = tuning.heartbeat
            self._half_beat = tuning.heartbeat / 2 or float("inf")
            self.body_limit = tuning.frame_max - frames.FRAME_OVERHEAD

    def _lose(
        self, reason: str, cause: BaseException | None = None, *, code: int | None = None, text: str = ""
    ) -> None:
        if self.lost is None:
            self.lost = ConnectionLost(f"{self.address}: {reason}", code=code, text=text)
            self.lost.__cause__ = cause

    def _dispatch(self) -> None:
        events = self.events
        while events:
            _, sink, args = events.popleft()
            sink(*args)
            # A sink may close its channel, which replaces the queue.
            events = self.events
