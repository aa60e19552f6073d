"""The publisher's thread and those who hand messages to it, on a driver that a test holds back."""

import collections
import threading

from amqtask.core.address import Address
from amqtask.core.declare import Arguments, DeclareOp, QueueInfo
from amqtask.core.message import Envelope, Verdict
from amqtask.drivers.base import ChannelSink
from amqtask.publisher import Publisher
from amqtask.session import SessionOptions
from amqtask.ticket import Ticket
from tests.support.eventually import eventually

NEVER = 1e9


class HeldConnection:
    """A connection whose `poll` waits for `wake`, and at first for `released` too. It keeps what is published."""

    blocked: str | None = None
    server = "none"
    generation = 1

    def __init__(self) -> None:
        self.released = threading.Event()
        self.published: list[bytes] = []
        self.polls = 0
        self._woken = threading.Event()

    def connect(self, address: Address, timeout: float) -> "HeldConnection":
        return self

    def channel(self, sink: ChannelSink, *, confirms: bool) -> "HeldConnection":
        return self

    def poll(self, timeout: float) -> None:
        self.polls += 1
        self._woken.wait(timeout)
        self._woken.clear()
        self.released.wait()

    def wake(self) -> None:
        self._woken.set()

    def publish(self, envelope: Envelope, exchange: str, routing_key: str, *, mandatory: bool) -> int:
        self.published.append(envelope.body)
        return 0

    def close(self) -> None:
        pass

    def declare(self, op: DeclareOp) -> QueueInfo | None:
        raise NotImplementedError

    def qos(self, prefetch: int) -> None:
        raise NotImplementedError

    def consume(self, queue: str, *, no_ack: bool, exclusive: bool, arguments: Arguments) -> str:
        raise NotImplementedError

    def cancel(self, consumer_tag: str) -> None:
        raise NotImplementedError

    def settle(self, tag: int, verdict: Verdict, *, multiple: bool = False) -> None:
        raise NotImplementedError


def test_a_message_handed_over_while_the_thread_drains_the_queue_is_not_left_lying() -> None:
    # It used to be: the sender looked at the queue, found another message in it and so did not wake the thread, which
    # wrote that one and slept before the new one was in the queue. A task's last state could wait a minute so.
    connection = HeldConnection()
    publisher = Publisher(SessionOptions(driver=connection, addresses=[Address()]))

    class LateQueue(collections.deque[Ticket]):
        def append(self, ticket: Ticket) -> None:
            if ticket.envelope.body == b"second":
                connection.released.set()
                eventually(lambda: connection.published == [b"first"])
                polls = connection.polls
                eventually(lambda: connection.polls > polls or connection.polls >= 2)
            super().append(ticket)

    publisher._queue = LateQueue()
    publisher.call_soon(lambda: None)
    eventually(lambda: connection.polls == 1)

    for body in (b"first", b"second"):
        publisher.send(Ticket(Envelope(body=body), "", "q", deadline=NEVER, mandatory=False, confirm=False))

    eventually(lambda: connection.published == [b"first", b"second"])
    publisher.close()
