"""Connection: a client's connection without a socket. Bytes in, calls of the broker out; bytes to send are taken.

connection = Connection(broker, login, wake)
connection.receive(data)         # never raises for what the client does wrong: it answers with the right close
transport.write(connection.take())
connection.is_done               # nothing more will come: close the transport
"""

import enum
from collections.abc import Callable
from typing import cast

from pamqp import commands
from pamqp.common import FieldTable

from amqtask.devbroker import frames, tables
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.errors import (
    HardError,
    Refusal,
    SoftError,
    channel_error,
    command_invalid,
    frame_error,
    internal_error,
    not_allowed,
    syntax_error,
)
from amqtask.devbroker.frames import HEARTBEAT, METHOD, Method
from amqtask.devbroker.methods import handle
from amqtask.devbroker.port import ChannelPort
from amqtask.devbroker.session import Session
from amqtask.devbroker.tables import Table

FRAME_MAX = 131_072
CHANNEL_MAX = 2047
HEARTBEAT_SECONDS = 60
OUTPUT_MAX = 1024 * 1024
"""Bytes that may wait for a client before its consumers get no more."""
CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
)
_CHANNEL_OPEN = commands.Channel.Open.index.to_bytes(4, "big")
_CHANNEL_CLOSE = commands.Channel.Close.index.to_bytes(4, "big")
_CHANNEL_CLOSE_OK = commands.Channel.CloseOk.index.to_bytes(4, "big")

Login = Callable[[str, str], bool]
"""Whether a user and password are right."""
Wake = Callable[[], None]
"""Called when there is something to take or reading may go on."""


class Phase(enum.Enum):
    """How far a connection is; the method that a client has to send next."""

    HEADER = "the protocol header"
    START = "connection.start-ok"
    TUNE = "connection.tune-ok"
    OPEN = "connection.open"
    RUNNING = "anything"
    CLOSING = "connection.close-ok"
    DONE = "nothing"


class Connection:
    """The state machine of one connection."""

    def __init__(self, broker: Broker, login: Login, wake: Wake, *, name: str = "") -> None:
        self.broker = broker
        self.name = name
        self.phase = Phase.HEADER
        self.heartbeat = 0
        self.session: Session | None = None
        self.client_properties: Table = {}
        self._login = login
        self._wake = wake
        self._user = ""
        self._ports: dict[int, ChannelPort] = {}
        self._rest = b""
        self._output: list[bytes] = []
        self._output_size = 0
        self._frame_max = 0
        self._channel_max = CHANNEL_MAX
        self._last_method = (0, 0)

    @property
    def is_done(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def is_reading(self) -> bool:
        """Whether more bytes are welcome: not from a publisher while an alarm is on."""
        return self.session is None or not self.session.is_blocked

    # In and out.

    def receive(self, data: bytes) -> None:
        """Take bytes from the client, or go on with those that an alarm had stopped (b"")."""
        if self.is_done:
            return
        data = self._rest + data
        position = 0
        try:
            if self.phase is Phase.HEADER:
                position = self._receive_protocol_header(data)
            while not self.is_done and self.phase is not Phase.HEADER and self.is_reading:
                frame = frames.read(data, position, self._frame_max)
                if frame is None:
                    break
                kind, number, payload, position = frame
                self._receive_frame(kind, number, payload)
        except HardError as error:
            self._refuse(error)
        except RecursionError:
            self._refuse(internal_error("too deep"))
        self._rest = b"" if self.is_done else data[position:]

    def take(self) -> bytes:
        """The bytes to send now."""
        output = b"".join(self._output)
        self._output.clear()
        self._output_size = 0
        return output

    def drained(self) -> None:
        """What was taken has gone out: consumers may get more."""
        if self.session is not None and self.session.is_congested:
            self.session.relieve()

    def stalled(self) -> None:
        """The client does not take what was sent."""
        if self.session is not None:
            self.session.congest()

    def beat(self) -> None:
        """Send a heartbeat."""
        self._write(frames.HEARTBEAT_FRAME)

    def lost(self) -> None:
        """The transport is gone."""
        self.phase = Phase.DONE
        self._end_session()

    def close(self, error: Refusal) -> None:
        """Close the connection from this side with a code."""
        self._last_method = (0, 0)
        self._refuse(error)

    def _write(self, data: bytes) -> None:
        if not self._output:
            self._wake()
        self._output.append(data)
        self._output_size += len(data)
        if self._output_size > OUTPUT_MAX and self.session is not None:
            self.session.congest()

    def _send(self, method: Method) -> None:
        self._write(frames.encode_method(method, 0))

    # The client's frames.

    def _receive_protocol_header(self, data: bytes) -> int:
        expected = frames.PROTOCOL_HEADER
        if len(data) < len(expected) and expected.startswith(data):
            return 0
        if not data.startswith(expected):
            # As the specification asks: say which protocol is spoken here, and hang up.
            self._write(expected)
            self.phase = Phase.DONE
            return len(data)
        self.phase = Phase.START
        capabilities: Table = dict.fromkeys(CAPABILITIES, True)
        properties: Table = {
            "capabilities": capabilities,
            "cluster_name": "devbroker@localhost",
            "copyright": "",
            "information": "For development and tests; not a RabbitMQ server.",
            "platform": "Python",
            # Clients choose by this name how to set prefetch (kombu does).
            "product": "RabbitMQ",
            "version": self.broker.context.profile.version,
        }
        self._send(commands.Connection.Start(0, 9, cast(FieldTable, properties), "PLAIN AMQPLAIN", "en_US"))
        return len(expected)

    def _receive_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == HEARTBEAT:
            if payload or number:
                raise frame_error("heartbeat with a payload or on a channel")
        elif number == 0:
            self._receive_method(kind, payload)
        elif self.phase is Phase.RUNNING:
            self._receive_on_channel(kind, number, payload)
        elif self.phase is not Phase.CLOSING:
            raise channel_error(f"frame on channel {number}, expected {self.phase.value}")

    def _receive_method(self, kind: int, payload: bytes) -> None:
        if kind != METHOD:
            raise command_invalid("content on channel 0")
        method = frames.decode_method(payload)
        if self.phase is Phase.CLOSING and not isinstance(
            method, commands.Connection.Close | commands.Connection.CloseOk
        ):
            return
        self._last_method = (method.index >> 16, method.index & 0xFFFF)
        match self.phase, method:
            case _, commands.Connection.Close():
                self._end_session()
                self._send(commands.Connection.CloseOk())
                self.phase = Phase.DONE
            case Phase.CLOSING, _:
                self.phase = Phase.DONE
                self._wake()
            case Phase.START, commands.Connection.StartOk():
                self._start(method)
            case Phase.TUNE, commands.Connection.TuneOk():
                self._tune(method)
            case Phase.OPEN, commands.Connection.Open():
                self._open(method)
            case Phase.RUNNING, commands.Connection.UpdateSecret():
                self._send(commands.Connection.UpdateSecretOk())
            case _:
                raise channel_error(f"unexpected {method.name}, expected {self.phase.value}")

    def _start(self, method: commands.Connection.StartOk) -> None:
        self.client_properties = cast(Table, method.client_properties)
        user, password = _credentials(method.mechanism, method.response)
        if not self._login(user, password):
            if not self._can("authentication_failure_close"):
                self.phase = Phase.DONE
                self._wake()
                return
            reason = f"Login was refused using authentication mechanism {method.mechanism}."
            raise HardError(403, f"{reason} For details see the broker logfile.")
        self._user = user
        self.phase = Phase.TUNE
        self._send(commands.Connection.Tune(CHANNEL_MAX, FRAME_MAX, HEARTBEAT_SECONDS))

    def _tune(self, method: commands.Connection.TuneOk) -> None:
        smallest = self.broker.context.profile.min_frame_max
        frame_max = method.frame_max or FRAME_MAX
        if frame_max < smallest:
            raise _not_negotiated("frame_max", frame_max, f"lower than the minimum allowed value ({smallest})")
        limits = (("frame_max", frame_max, FRAME_MAX), ("channel_max", method.channel_max, CHANNEL_MAX))
        for name, value, limit in limits:
            if value > limit:
                raise _not_negotiated(name, value, f"higher than the maximum allowed value ({limit})")
        self._frame_max = frame_max
        self._channel_max = method.channel_max or CHANNEL_MAX
        self.heartbeat = method.heartbeat
        self.phase = Phase.OPEN

    def _open(self, method: commands.Connection.Open) -> None:
        self.session = self.broker.connect(self, vhost=method.virtual_host, user=self._user, name=self.name)
        self.session.client_properties = self.client_properties
        self.phase = Phase.RUNNING
        self._send(commands.Connection.OpenOk())

    # Channels.

    def _receive_on_channel(self, kind: int, number: int, payload: bytes) -> None:
        port = self._ports.get(number)
        if port is None:
            self._open_channel(kind, number, payload)
        elif port.is_closing:
            self._await_close_ok(port, kind, payload)
        elif kind == METHOD and payload[:4] == _CHANNEL_CLOSE:
            self._close_channel(port)
        elif kind == METHOD and payload[:4] == _CHANNEL_OPEN:
            raise channel_error("second 'channel.open' seen")
        else:
            try:
                port.receive(kind, payload)
            except SoftError as error:
                port.refuse(error)
            except HardError:
                self._last_method = port.last_method
                raise

    def _open_channel(self, kind: int, number: int, payload: bytes) -> None:
        if kind != METHOD or payload[:4] != _CHANNEL_OPEN:
            raise channel_error("expected 'channel.open'")
        frames.decode_method(payload)
        if number > self._channel_max or self.session is None:
            raise not_allowed(f"channel {number} is above the negotiated channel_max ({self._channel_max})")
        port = ChannelPort(
            number,
            self._write,
            frame_max=self._frame_max,
            cancel_notify=self._can("consumer_cancel_notify"),
            handle=handle,
        )
        port.channel = self.session.open_channel(number, port)
        self._ports[number] = port
        port.send(commands.Channel.OpenOk())

    def _await_close_ok(self, port: ChannelPort, kind: int, payload: bytes) -> None:
        if kind != METHOD:
            return
        if payload[:4] == _CHANNEL_CLOSE_OK:
            del self._ports[port.number]
        elif payload[:4] == _CHANNEL_CLOSE:
            port.send(commands.Channel.CloseOk())

    def _close_channel(self, port: ChannelPort) -> None:
        del self._ports[port.number]
        # Confirms that are decided go out before the channel is gone.
        self.broker.flush()
        port.open.close()
        port.send(commands.Channel.CloseOk())

    # The end, and what the broker says about the connection.

    def _refuse(self, error: Refusal) -> None:
        if self.phase in (Phase.CLOSING, Phase.DONE):
            self.phase = Phase.DONE
            self._wake()
            return
        has_started = self.phase is not Phase.HEADER
        self.phase = Phase.CLOSING if has_started else Phase.DONE
        self._end_session()
        if has_started:
            self._send(commands.Connection.Close(error.code, error.text, *self._last_method))

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()
        self._ports.clear()

    def _can(self, capability: str) -> bool:
        capabilities = self.client_properties.get("capabilities")
        return isinstance(capabilities, dict) and capabilities.get(capability) is True

    def blocked(self, reason: str) -> None:
        if self._can("connection.blocked"):
            self._send(commands.Connection.Blocked(reason))
        self._wake()

    def unblocked(self) -> None:
        if self._can("connection.blocked"):
            self._send(commands.Connection.Unblocked())
        self._wake()

    def closed(self, error: Refusal) -> None:
        self.close(error)


def _not_negotiated(name: str, value: int, reason: str) -> HardError:
    return not_allowed(f"failed to negotiate connection parameters: negotiated {name} = {value} is {reason}")


def _credentials(mechanism: str, response: str) -> tuple[str, str]:
    """User and password out of a SASL response. Raises HardError (502, 504)."""
    if mechanism == "PLAIN":
        parts = response.split("\x00")
        if len(parts) != 3:
            raise syntax_error("PLAIN response has not the form \\0user\\0password")
        return parts[1], parts[2]
    if mechanism == "AMQPLAIN":
        table = tables.decode(tables.wire(response))
        user, password = table.get("LOGIN"), table.get("PASSWORD")
        if not isinstance(user, str) or not isinstance(password, str):
            raise syntax_error("AMQPLAIN response without LOGIN and PASSWORD")
        return user, password
    raise not_allowed(f"unknown authentication mechanism '{mechanism}'")
