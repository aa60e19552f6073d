"""Session: one client's connection as the broker knows it."""

from typing import Protocol

from amqtask.devbroker.channel import Channel
from amqtask.devbroker.errors import Refusal, channel_error
from amqtask.devbroker.roles import Hub
from amqtask.devbroker.sinks import ChannelSink, SessionSink
from amqtask.devbroker.tables import Table
from amqtask.devbroker.vhost import VirtualHost


class House(Hub, Protocol):
    """The broker as a session sees it."""

    @property
    def alarm(self) -> str | None: ...
    def forget(self, session: "Session") -> None: ...


class Session:
    """Channels by number, and what belongs to the connection: exclusive queues, the alarm, back-pressure."""

    def __init__(
        self, broker: House, vhost: VirtualHost, sink: SessionSink, *, number: int, user: str, name: str
    ) -> None:
        self.broker = broker
        self.vhost = vhost
        self.sink = sink
        self.number = number
        self.user = user
        self.name = name
        # What the client says of itself, once it has.
        self.client_properties: Table = {}
        self.channels: dict[int, Channel] = {}
        self.is_congested = False
        self.is_blocked = False
        self.has_published = False
        self._is_closed = False

    def open_channel(self, number: int, sink: ChannelSink) -> Channel:
        """Raises HardError (504) if that channel is open."""
        if number in self.channels:
            raise channel_error("second 'channel.open' seen")
        channel = self.channels[number] = Channel(self, number, sink)
        return channel

    def channel_closed(self, number: int) -> None:
        self.channels.pop(number, None)

    def note_publish(self) -> None:
        """The client has published for the first time: alarms are for it too from now on."""
        self.has_published = True
        self.heed_alarm()

    def heed_alarm(self) -> None:
        """Block or unblock a client that publishes."""
        reason = self.broker.alarm
        if reason is not None and self.has_published and not self.is_blocked:
            self.is_blocked = True
            self.sink.blocked(reason)
        elif reason is None and self.is_blocked:
            self.is_blocked = False
            self.sink.unblocked()

    def congest(self) -> None:
        """The client does not read: no deliveries until `relieve`."""
        self.is_congested = True

    def relieve(self) -> None:
        self.is_congested = False
        for channel in list(self.channels.values()):
            channel.resume()

    def close(self) -> None:
        """The client is gone: what it holds goes back, what is exclusive to it goes away."""
        if self._is_closed:
            return
        self._is_closed = True
        for channel in list(self.channels.values()):
            channel.close()
        for queue in [queue for queue in self.vhost.queues.values() if queue.exclusive_to is self]:
            if queue.name in self.vhost.queues:
                self.vhost.remove_queue(queue)
        self.broker.forget(self)

    def fail(self, error: Refusal) -> None:
        """The broker closes the connection."""
        self.close()
        self.sink.closed(error)
