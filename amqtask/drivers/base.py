"""The driver port: what amqtask asks of an AMQP library. `Session` is its only caller.

Laws, each a test in `tests/contract/test_driver.py`:

1.  Only `poll` calls a sink.
2.  `publish` does not wait for the confirm.
3.  Confirms are matched by sequence number, `multiple` honoured; a channel that closes fails all outstanding ones.
4.  `poll(t)` returns within t seconds, sends heartbeats, and does not raise for a time-out.
5.  No library exception leaves an adapter: `BrokerError`s carry reply code and text, `__cause__` the original.
6.  A Delivery knows its channel's generation; settling an old one is a logged no-op.
7.  Headers survive both ways: nested tables, arrays, timestamps, bytes, big integers, None.
8.  `wake` from another thread ends a `poll(60)` at once, and is safe after `close`.
9.  All of it again under gevent.
10. A `basic.cancel` from the server and a channel closed by the server reach the sink; the connection's other
    channels go on.
"""

from typing import Protocol

from amqtask.core.address import Address
from amqtask.core.declare import Arguments, DeclareOp, QueueInfo
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.errors import BrokerError


class ChannelSink(Protocol):
    """Who listens to a channel. Called from `Connection.poll` only."""

    def delivered(self, delivery: Delivery) -> None:
        """A message came for one of the channel's consumers."""

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        """The broker took (`ok`) or refused the message of this sequence number; `multiple`: and all before it."""

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        """No queue took a mandatory message. Comes before the confirm of the same message."""

    def cancelled(self, consumer_tag: str) -> None:
        """The server cancelled the consumer: its queue was deleted, or its node went down."""

    def closed(self, error: BrokerError) -> None:
        """The server closed the channel; what was outstanding on it is lost."""


class QuietSink:
    """A ChannelSink that expects nothing; who expects something overrides that method."""

    def delivered(self, delivery: Delivery) -> None:
        raise AssertionError("a delivery came on a channel that consumes nothing")

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        raise AssertionError("a confirm came on a channel that is not in confirm mode")

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        raise AssertionError("a message came back on a channel that publishes none with mandatory")

    def cancelled(self, consumer_tag: str) -> None:
        raise AssertionError("a consumer was cancelled on a channel that has none")

    def closed(self, error: BrokerError) -> None:
        raise error


class Channel(Protocol):
    """One AMQP channel. All methods belong to the thread that polls the connection.

    `generation` is unique in the process and travels with each Delivery. Methods that wait for the broker's answer
    raise `ChannelClosed` or a subclass when it is a refusal (the channel is unusable from then on, the sink's `closed`
    is not called), and `ConnectionLost` when the connection goes: after the heartbeat time when the broker is silent,
    after four of them when it sends heartbeats but no answer.

    `publish` and `settle` wait for nothing and write into a buffer. Its octets leave with the next `poll` or the next
    method that waits, and at once when there are 64 KiB of them. The buffer has no bound but the caller's window of
    unconfirmed messages.
    """

    generation: int

    def declare(self, op: DeclareOp) -> QueueInfo | None:
        """Do what `op` says and wait for the answer."""
        ...

    def qos(self, prefetch: int) -> None:
        """The prefetch of consumers that start from now on (never global: RabbitMQ's reading of `basic.qos`)."""
        ...

    def consume(self, queue: str, *, no_ack: bool, exclusive: bool, arguments: Arguments) -> str:
        """Start a consumer; its tag."""
        ...

    def cancel(self, consumer_tag: str) -> None:
        """Stop a consumer; what it already delivered stays unsettled."""
        ...

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> int:
        """Write a message; its sequence number on this channel, from 1 (0 on a channel without confirms)."""
        ...

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        """Ack, reject or hand back; `multiple`: this tag and all unsettled before it.

        REQUEUE and DEAD_LETTER are never multiple: `basic.reject` takes one tag.
        """
        ...

    def close(self) -> None:
        """Close the channel; unsettled deliveries go back to their queues."""
        ...


class Connection(Protocol):
    """One AMQP connection, owned by one thread."""

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now (`connection.blocked`), or None."""
        ...

    @property
    def server(self) -> str:
        """Product and version, as the broker names itself: "RabbitMQ 3.10.8"."""
        ...

    def channel(self, sink: ChannelSink, *, confirms: bool) -> Channel:
        """Open a channel, in confirm mode where `confirms`."""
        ...

    def poll(self, timeout: float) -> None:
        """Read, heartbeat and call sinks, for at most `timeout` seconds.

        Returns as soon as something was dispatched, or the broker blocked or unblocked the connection.

        Raises:
            ConnectionLost: the connection is gone.
        """
        ...

    def wake(self) -> None:
        """End the current or the next `poll` at once. The only method that another thread may call."""
        ...

    def close(self) -> None:
        """Close the connection; idempotent; raises nothing when it is gone already."""
        ...


class Driver(Protocol):
    """An AMQP library behind the port."""

    def connect(self, address: Address, timeout: float) -> Connection:
        """Open a connection within `timeout` seconds.

        Raises:
            ConnectionFailed: nobody answers there, or the handshake failed.
            AuthenticationFailed: user or password are wrong.
            VhostUnavailable: no such virtual host, or no access to it.
        """
        ...
