"""A client of bytes: pamqp on one side, a `Connection` on the other, nothing between them."""

from pamqp import body, commands, header
from pamqp import frame as pamqp_frame

from amqtask.devbroker.broker import Broker
from amqtask.devbroker.connection import Connection
from tests.unit.devbroker.rig import broker

HELLO = b"AMQP\x00\x00\x09\x01"
CAPABLE = {
    "capabilities": {"authentication_failure_close": True, "consumer_cancel_notify": True, "connection.blocked": True}
}


class Wire:
    """One connection. `connection.take()` has already been called for what `received` gives."""

    def __init__(self, house: Broker | None = None) -> None:
        self.house = house or broker()
        self.wakes = 0
        self.connection = Connection(
            self.house, lambda user, password: (user, password) == ("guest", "guest"), self._wake
        )

    def _wake(self) -> None:
        self.wakes += 1

    def feed(self, data: bytes) -> None:
        self.connection.receive(data)

    def send(self, *frames: pamqp_frame.FrameTypes, channel: int = 1) -> list[tuple[int, pamqp_frame.FrameTypes]]:
        """Send frames and give back what comes."""
        self.feed(b"".join(pamqp_frame.marshal(frame, channel) for frame in frames))
        return self.received()

    def received(self) -> list[tuple[int, pamqp_frame.FrameTypes]]:
        self.house.flush()
        data, frames = self.connection.take(), []
        while data:
            size, channel, frame = pamqp_frame.unmarshal(data)
            frames.append((channel, frame))
            data = data[size:]
        return frames

    def names(self, *frames: pamqp_frame.FrameTypes, channel: int = 1) -> list[str]:
        return [frame.name for _, frame in self.send(*frames, channel=channel)]

    def open(self, *, frame_max: int = 131072, heartbeat: int = 0, vhost: str = "/") -> "Wire":
        """Shake hands and open channel 1."""
        self.feed(HELLO)
        self.send(commands.Connection.StartOk(CAPABLE, "PLAIN", "\0guest\0guest", "en_US"), channel=0)  # type: ignore[arg-type]
        self.send(commands.Connection.TuneOk(2047, frame_max, heartbeat), commands.Connection.Open(vhost), channel=0)
        self.send(commands.Channel.Open())
        return self

    def publish(self, key: str, data: bytes, exchange: str = "", **named: object) -> list[str]:
        frames: list[pamqp_frame.FrameTypes] = [
            commands.Basic.Publish(0, exchange, key),
            header.ContentHeader(0, len(data), commands.Basic.Properties(**named)),  # type: ignore[arg-type]
        ]
        if data:
            frames.append(body.ContentBody(data))
        return self.names(*frames)

    @property
    def closed_with(self) -> int | None:
        """The code of a connection.close or channel.close among what comes now."""
        for _, frame in self.received():
            if isinstance(frame, commands.Connection.Close | commands.Channel.Close):
                return frame.reply_code
        return None
