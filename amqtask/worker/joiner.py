"""Joiner: looks into the queues of chords and takes those together that are complete. Nothing polls.

Who has added a part looks how many messages the queue has; whoever was last sees all of them, for a confirmed message
is counted. It consumes the queue, where one consumer at a time is given anything; a second one waits until the first
is gone or the queue is. Where messages came twice, the number says too much: the parts go back, and the one who gave
them back looks again until it sees all that it had, so that a part which came in between is not overlooked.

A queue that does not exist is that of a chord which is over.
"""

import collections
import threading
from collections.abc import Callable

from amqtask.clock import Clock
from amqtask.core.declare import DeclareQueue, DeleteQueue
from amqtask.core.join import Note, Tally
from amqtask.core.message import Delivery, Envelope
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed, MessageError, NotFound
from amqtask.log import event, get_logger
from amqtask.session import Session, SessionOptions
from amqtask.worker.timers import Timers

logger = get_logger("worker")

Done = Callable[[Exception | None], None]
Complete = Callable[[Tally, Done], None]

RETURN_PAUSE = 0.02
"""Seconds between looks for what was given back."""
RETURN_TIME = 5.0
"""Seconds after which the queue is consumed again although not all is back: somebody else may have it."""


class Look:
    """One member's look at its chord."""

    def __init__(
        self, queue: str, *, need: int, least: int, tally: Callable[[], Tally], complete: Complete, done: Done
    ) -> None:
        """`need` is the number of messages of a complete chord, `least` what there must be now.

        `complete` is given all parts, and calls back when the body is sent; then the queue goes.
        """
        self.queue = queue
        self.need = need
        self.least = least
        self.tally = tally
        self.complete = complete
        self.done = done
        self.attempt: _Attempt | None = None


class Joiner:
    """A participant of a session of its own, which begins with the first chord."""

    def __init__(self, options: SessionOptions, read: Callable[[Envelope], Note]) -> None:
        self._clock: Clock = options.clock
        self.read = read
        self._looks: dict[Look, None] = {}
        self._fresh: collections.deque[Look] = collections.deque()
        self._timers = Timers()
        self._connection: Connection | None = None
        self._asking: Channel | None = None
        self._lock = threading.Lock()
        self._is_started = False
        self._session = Session(options, [self], name="chords")

    def look(self, look: Look) -> None:
        """Look whether a chord is complete, and finish it if so. From any thread."""
        with self._lock:
            if not self._is_started:
                self._session.start()
                self._is_started = True
        self._session.call_soon(lambda: self._take(look))

    def close(self, timeout: float) -> None:
        """End the session."""
        if self._is_started:
            self._session.stop(timeout)

    # The session's thread

    def opened(self, connection: Connection) -> None:
        self._connection = connection

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._asking = None
        looks, self._looks = list(self._looks), {}
        self._fresh.clear()
        for look in looks:
            look.done(error)

    def turn(self, now: float) -> float:
        while self._fresh and self._connection is not None:
            self._count(self._fresh.popleft())
        return self._timers.run(now)

    def soon(self, call: Callable[[], None]) -> None:
        """Have it run outside of a sink's call."""
        self._session.call_soon(call)

    def _take(self, look: Look) -> None:
        self._looks[look] = None
        self._fresh.append(look)

    def _count(self, look: Look, given_back: int = 0) -> None:
        messages = self._messages(look)
        if messages is None:
            return
        if given_back and messages != given_back:
            self._consume(look, messages)
        elif not given_back and (messages >= look.need or messages < look.least):
            # Fewer than are there for sure: somebody has them, or the broker does not know just now.
            self._consume(look, messages)
        else:
            self.finish(look, None)

    def _messages(self, look: Look) -> int | None:
        """How many are ready; None, and the look is over, where that cannot be said."""
        try:
            info = self._ask(DeclareQueue(name=look.queue, passive=True))
        except NotFound:
            self.finish(look, None)
            return None
        except ChannelClosed as error:
            self.finish(look, error)
            return None
        return info

    def _ask(self, op: DeclareQueue | DeleteQueue) -> int:
        if self._asking is None:
            assert self._connection is not None, "looks are taken with a connection only"
            self._asking = self._connection.channel(_AskSink(self), confirms=False)
        try:
            info = self._asking.declare(op)
        except ChannelClosed:
            self._asking = None
            raise
        return 0 if info is None else info.messages

    def forget_asking(self) -> None:
        """The channel was closed by the broker."""
        self._asking = None

    def _consume(self, look: Look, expected: int) -> None:
        assert self._connection is not None, "looks are taken with a connection only"
        attempt = _Attempt(self, look, expected)
        try:
            attempt.channel = self._connection.channel(attempt, confirms=False)
            attempt.channel.consume(look.queue, no_ack=False, exclusive=False, arguments={})
        except NotFound:
            self.finish(look, None)
            return
        except ChannelClosed as error:
            self.finish(look, error)
            return
        look.attempt = attempt

    def give_back(self, attempt: "_Attempt") -> None:
        """Not all members are there: let the parts go, and see whether one came in between."""
        look = attempt.look
        if look not in self._looks:
            return
        attempt.close()
        until = self._clock.monotonic() + RETURN_TIME
        self._await_return(look, attempt.seen, until)

    def _await_return(self, look: Look, seen: int, until: float) -> None:
        if look not in self._looks or self._connection is None:
            return
        messages = self._messages(look)
        if messages is None:
            return
        now = self._clock.monotonic()
        if messages == seen:
            self.finish(look, None)
        elif messages > seen or now >= until:
            self._consume(look, messages)
        else:
            self._timers.add(now + RETURN_PAUSE, lambda: self._await_return(look, seen, until))

    def completed(self, attempt: "_Attempt", error: Exception | None) -> None:
        """The body is sent, or could not be."""
        look = attempt.look
        if look not in self._looks:
            return  # the connection was lost meanwhile
        if error is None:
            try:
                self._ask(DeleteQueue(name=look.queue))
            except ChannelClosed as refusal:
                error = refusal
        attempt.close()
        self.finish(look, error)

    def finish(self, look: Look, error: Exception | None) -> None:
        """The look is over."""
        if self._looks.pop(look, self) is None:
            look.done(error)


class _Attempt(QuietSink):
    """Consumes the queue of a chord."""

    def __init__(self, joiner: Joiner, look: Look, expected: int) -> None:
        self._joiner = joiner
        self.look = look
        self._expected = expected
        self._tally = look.tally()
        self._is_decided = False
        self.channel: Channel | None = None
        self.seen = 0

    def delivered(self, delivery: Delivery) -> None:
        self.seen += 1
        if self._is_decided:
            return
        try:
            self._tally.note(self._joiner.read(delivery.envelope))
        except MessageError as error:
            logger.error("%s holds what is no part: %s", self.look.queue, error, extra=event("chord-stray"))
        if self._tally.is_complete:
            self._is_decided = True
            self._joiner.soon(self._complete)
        elif self.seen >= self._expected:
            self._is_decided = True
            self._joiner.soon(lambda: self._joiner.give_back(self))

    def cancelled(self, consumer_tag: str) -> None:
        if not self._is_decided:
            # The queue was deleted: the chord is over.
            self._is_decided = True
            self._joiner.soon(self._over)

    def closed(self, error: BrokerError) -> None:
        self.channel = None
        self._is_decided = True
        self._joiner.soon(lambda: self._joiner.finish(self.look, error))

    def close(self) -> None:
        """Let go of what was not settled."""
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.close()

    def _over(self) -> None:
        self.close()
        self._joiner.finish(self.look, None)

    def _complete(self) -> None:
        def ended(error: Exception | None) -> None:
            self._joiner.soon(lambda: self._joiner.completed(self, error))

        try:
            self.look.complete(self._tally, ended)
        except Exception as fault:
            # A body that cannot be built fails like any effect; the session must not end for it.
            logger.exception("the body of %s cannot be sent", self.look.queue, extra=event("chord-fault"))
            ended(fault)


class _AskSink(QuietSink):
    """Listens to the channel that counts."""

    def __init__(self, joiner: Joiner) -> None:
        self._joiner = joiner

    def closed(self, error: BrokerError) -> None:
        self._joiner.forget_asking()
