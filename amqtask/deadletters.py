"""Dead letters: looking at them, sending them again and throwing them away.

Looking takes all of them and hands them back with one nack. Quorum queues count that as one delivery of each, up to
4.2; from 4.3 on it counts as none ("Quorum Queues", poison message handling). Dead-letter queues of amqtask have
no limit that a count could reach; others have one of 20 from 4.0 on, and `Letter.deliveries` shows how near it is.

Whatever is done with a letter is done before it is acknowledged, one letter after another, on one channel: the broker
sees the acknowledgement of one before the next. So whenever this program is killed, nothing is lost, and one message at
the most is there twice.
"""

import collections
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from amqtask.clock import Clock
from amqtask.core.deadletter import DeadLetter, read_dead_letter, revived_envelope
from amqtask.core.declare import DeclareQueue, PurgeQueue
from amqtask.core.message import Delivery, Envelope, HeaderValue, Verdict
from amqtask.core.topology import DEFAULT_EXCHANGE, Topology
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, NotFound, PublishError, PublishNacked, PublishTimeout, Unroutable

PREFETCH = 1000
"""Of each consumer while looking. Quorum queues take no more than 2000 for one."""

IDLE = 3.0
"""Seconds without a message after which those that are missing are taken to be held by somebody else."""

CONFIRM_TIMEOUT = 30.0
"""Seconds that a message sent again may take to be confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message in a dead-letter queue and what it says of its end. `deliveries` is the broker's count, where it has
    one."""

    where: str
    tag: int
    envelope: Envelope
    death: DeadLetter
    deliveries: int | None = None

    @property
    def id(self) -> str:
        """The task's id; of what is no task the message's, or nothing."""
        return self._text("id") or self.envelope.correlation_id or self.envelope.message_id or ""

    @property
    def task(self) -> str:
        """The task's name, or nothing."""
        return self._text("task")

    @property
    def kind(self) -> str:
        """What letters are grouped by: the type of the error, else the reason."""
        return self.death.error or self.death.reason

    def _text(self, name: str) -> str:
        value = self.envelope.headers.get(name)
        return value if isinstance(value, str) else ""


FILTERS = ("id", "task", "reason", "error", "detail", "queue", "node")
"""What a Filter may look at."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A pattern for one property of a letter."""

    name: str
    pattern: str

    def takes(self, letter: Letter) -> bool:
        """Whether the pattern fits."""
        if self.name in ("id", "task"):
            value = letter.id if self.name == "id" else letter.task
        else:
            value = str(getattr(letter.death, self.name))
        return fnmatch.fnmatchcase(value, self.pattern)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a letter is sent."""

    exchange: str
    routing_key: str

    def __str__(self) -> str:
        return f"exchange {self.exchange!r}, key {self.routing_key!r}" if self.exchange else f"queue {self.routing_key}"


@dataclass(slots=True)
class Report:
    """What became of the letters: how many were sent again or thrown away, and why not the others."""

    done: int = 0
    passed_over: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    """The letter's id, and what is wrong."""


def dead_letter_queues(topology: Topology, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The queues where dead letters gather; those of `names`, each a dead-letter queue or a queue that has one."""
    found: dict[str, None] = {}
    for name in names or topology.queues:
        queue = topology.queues.get(name)
        target = queue.dead_letter if queue is not None else None
        if target is None:
            if names:
                found[name] = None
        elif target.exchange == DEFAULT_EXCHANGE:
            if target.routing_key is not None:
                found[target.routing_key] = None
        else:
            found.update(dict.fromkeys(topology.reached_from(target.exchange)))
    return tuple(found)


def destination(letter: Letter) -> Place | None:
    """The queue in which the letter died: by its first route it might reach others, too, that are done with it."""
    death = letter.death
    if death.queue:
        return Place(DEFAULT_EXCHANGE, death.queue)
    return Place(death.exchange, death.routing_key) if death.routing_key or death.exchange else None


class DeadLetters(QuietSink):
    """The dead letters of some queues, over a connection of their own, which the caller closes."""

    def __init__(self, connection: Connection, queues: Sequence[str], clock: Clock) -> None:
        self._connection = connection
        self._queues = tuple(queues)
        self._clock = clock
        self._came: collections.deque[Delivery] = collections.deque()
        self._held = 0
        self._confirmed: bool | None = None
        self._returned = ""
        self._error: BrokerError | None = None

    def count(self) -> Mapping[str, int]:
        """How many letters there are, by queue; queues that do not exist are left out."""
        counts = {}
        for queue in self._queues:
            channel = self._connection.channel(QuietSink(), confirms=False)
            try:
                info = channel.declare(DeclareQueue(name=queue, passive=True))
            except NotFound:
                continue
            channel.close()
            counts[queue] = 0 if info is None else info.messages
        return counts

    def look(self, limit: int) -> Iterator[Letter]:
        """The letters, at the most so many of each queue; they stay where they are."""
        for queue, count in self.count().items():
            for letter, _ in self._letters(queue, min(count, limit)):
                yield letter

    def replay(
        self,
        filters: Sequence[Filter],
        *,
        to: Place | None = None,
        interval: float = 0.0,
        most: int | None = None,
        progress: Callable[[int], None] = lambda seen: None,
    ) -> Report:
        """Send letters again, each confirmed before it is acknowledged. `interval` is seconds between two of them.

        Raises:
            PublishTimeout: the broker did not confirm one in time; it stays, and may be there twice.
            BrokerError: the connection was lost; the letters that are not done stay.
        """
        pace = _Pace(self._clock, self._connection, interval)

        def send(letter: Letter, channel: Channel) -> None:
            place = to or destination(letter)
            if place is None:
                raise PublishError("it does not say where it came from; give --to")
            pace.wait()
            self._publish(channel, revived_envelope(letter.envelope), place)

        return self._each(filters, send, most, progress)

    def purge(self, filters: Sequence[Filter], progress: Callable[[int], None] = lambda seen: None) -> Report:
        """Throw letters away. Without filters the queues are purged at once."""
        if filters:
            return self._each(filters, lambda letter, channel: None, None, progress)
        report = Report()
        for queue in self.count():
            channel = self._connection.channel(QuietSink(), confirms=False)
            info = channel.declare(PurgeQueue(name=queue))
            channel.close()
            report.done += 0 if info is None else info.messages
        return report

    def _each(
        self,
        filters: Sequence[Filter],
        act: Callable[[Letter, Channel], None],
        most: int | None,
        progress: Callable[[int], None],
    ) -> Report:
        report = Report()
        seen = 0
        for queue, count in self.count().items():
            for letter, channel in self._letters(queue, count):
                if most is not None and report.done >= most:
                    break
                seen += 1
                if not all(wanted.takes(letter) for wanted in filters):
                    report.passed_over += 1
                else:
                    try:
                        act(letter, channel)
                    except PublishTimeout:
                        raise
                    except PublishError as error:
                        report.failures.append((letter.id, str(error)))
                    else:
                        channel.settle(letter.tag, Verdict.ACK)
                        self._held -= 1
                        report.done += 1
                progress(seen)
        return report

    def _letters(self, queue: str, count: int) -> Iterator[tuple[Letter, Channel]]:
        """The next `count` letters of a queue, unacknowledged; those that are not settled go back at the end."""
        if not count:
            return
        channel = self._connection.channel(self, confirms=True)
        channel.qos(min(PREFETCH, count))
        tags: list[str] = []
        self._held = 0
        try:
            for _ in range(count):
                # What is passed over stays unacknowledged, not to come again: when that fills the window of one
                # consumer, another one opens the next.
                if self._held >= PREFETCH * len(tags):
                    tags.append(channel.consume(queue, no_ack=False, exclusive=False, arguments={}))
                delivery = self._next()
                if delivery is None:
                    return
                self._held += 1
                yield _letter(queue, delivery), channel
        finally:
            if self._error is None:
                self._hand_back(channel, tags)

    def _hand_back(self, channel: Channel, tags: Sequence[str]) -> None:
        # Cancelled first: they would come again at once. Cancelling also sees acknowledgements through that a quorum
        # queue has not written yet; RabbitMQ 4 forgets those when the channel is closed. One nack for all: each letter
        # is counted once, if it is.
        for tag in tags:
            channel.cancel(tag)
        channel.settle(0, Verdict.HAND_BACK, multiple=True)
        channel.close()
        self._came.clear()

    def _next(self) -> Delivery | None:
        until = self._clock.monotonic() + IDLE
        while not self._came:
            left = until - self._clock.monotonic()
            if left <= 0:
                return None
            self._poll(left)
        return self._came.popleft()

    def _publish(self, channel: Channel, envelope: Envelope, place: Place) -> None:
        self._expect_answer()
        channel.publish(envelope, place.exchange, place.routing_key, mandatory=True)
        until = self._clock.monotonic() + CONFIRM_TIMEOUT
        while self._confirmed is None:
            left = until - self._clock.monotonic()
            if left <= 0:
                raise PublishTimeout(f"the broker did not confirm a message for {place} within {CONFIRM_TIMEOUT:g} s")
            self._poll(left)
        if self._returned:
            raise Unroutable(f"no queue takes a message for {place} ({self._returned})")
        if not self._confirmed:
            raise PublishNacked(f"{place} refused the message: a queue is full, or the broker failed to keep it")

    def _expect_answer(self) -> None:
        self._confirmed, self._returned = None, ""

    def _poll(self, timeout: float) -> None:
        self._connection.poll(timeout)
        if self._error is not None:
            raise self._error

    # The channel's sink

    def delivered(self, delivery: Delivery) -> None:
        self._came.append(delivery)

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        self._confirmed = ok

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        self._returned = f"{code} {text}"

    def cancelled(self, consumer_tag: str) -> None:
        self._error = NotFound("the dead-letter queue was deleted, or its node went down")

    def closed(self, error: BrokerError) -> None:
        self._error = error


class _Pace:
    """Keeps a distance between two messages; the connection is served meanwhile."""

    def __init__(self, clock: Clock, connection: Connection, interval: float) -> None:
        self._clock = clock
        self._connection = connection
        self._interval = interval
        self._due = 0.0

    def wait(self) -> None:
        while (left := self._due - self._clock.monotonic()) > 0:
            self._connection.poll(left)
        self._due = max(self._due, self._clock.monotonic() - self._interval) + self._interval


def _letter(queue: str, delivery: Delivery) -> Letter:
    count: HeaderValue = delivery.envelope.headers.get("x-delivery-count")
    return Letter(
        where=queue,
        tag=delivery.tag,
        envelope=delivery.envelope,
        death=read_dead_letter(delivery.envelope),
        deliveries=count if type(count) is int else None,
    )
