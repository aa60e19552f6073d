"""What a broker tells a client, unasked. The connection writes frames; a driver without a socket keeps events."""

from typing import Protocol

from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.errors import Refusal
from amqtask.devbroker.message import Message


class ChannelSink(Protocol):
    """The other end of a channel. Its methods only take note; they do not call the broker."""

    def deliver(self, consumer: Consumer, delivery_tag: int, redelivered: bool, message: Message) -> None: ...
    def returned(self, code: int, text: str, message: Message) -> None: ...
    def confirmed(self, sequence: int, *, multiple: bool, ok: bool) -> None: ...
    def cancelled(self, consumer_tag: str) -> None: ...
    def closed(self, error: Refusal) -> None:
        """The broker has closed the channel; it is of no use any more."""
        ...


class SessionSink(Protocol):
    """The other end of a connection."""

    def blocked(self, reason: str) -> None: ...
    def unblocked(self) -> None: ...
    def closed(self, error: Refusal) -> None: ...
