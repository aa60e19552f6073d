"""The mailbox: a queue for answers, the commands that are on their way, and who waits for them."""

import concurrent.futures
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from amqtask.clock import Clock
from amqtask.control.protocol import (
    BadCommand,
    Command,
    command_body,
    envelope,
    exchanges,
    read_reply,
)
from amqtask.control.signing import sign
from amqtask.core.declare import BindQueue, DeclareQueue
from amqtask.core.message import Delivery, Envelope
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ConnectionFailed, ConnectionLost
from amqtask.log import event, get_logger
from amqtask.session import NEVER, Session, SessionOptions

logger = get_logger("control")

Answers: TypeAlias = dict[str, Any]
"""By node: what it answered."""
OnAnswer: TypeAlias = Callable[[str, Any], None]

EXPIRES_MS = 60_000
"""A command that no node took for so long is not for those that come later."""
CONNECT_WITHIN = 10.0


@dataclass(slots=True)
class _Call:
    """A command on its way, and who waits for its answers."""

    command: Command
    timeout: float
    limit: int | None
    future: "concurrent.futures.Future[Answers]"
    on_answer: OnAnswer | None
    give_up: float
    deadline: float = NEVER
    answers: Answers = field(default_factory=dict)
    message_id: str = ""


class Mailbox(QuietSink):
    """A queue for answers, and the commands that are answered there. A participant; `call` is for any thread."""

    def __init__(self, options: SessionOptions, *, exchange: str, secret: str | None) -> None:
        self._clock: Clock = options.clock
        self._exchange = exchange
        self._secret = secret
        self._key = uuid.uuid4().hex
        self._calls: dict[str, _Call] = {}
        self._unsent: list[_Call] = []
        self._channel: Channel | None = None
        self._time = 0
        self._lock = threading.Lock()
        self._started = False
        self._error: BrokerError | None = None
        self._session = Session(options, [self], name="control", on_failure=self._failed)

    def call(
        self, command: Command, *, timeout: float, limit: int | None, on_answer: OnAnswer | None
    ) -> "concurrent.futures.Future[Answers]":
        """Send a command. The future has the answers once there are `limit`, or `timeout` seconds have passed.

        Where nobody listens at all it has none at once.
        """
        with self._lock:
            if not self._started:
                self._session.start()
                self._started = True
        call = _Call(
            command=command,
            timeout=timeout,
            limit=limit,
            future=concurrent.futures.Future(),
            on_answer=on_answer,
            give_up=self._clock.monotonic() + CONNECT_WITHIN,
            message_id=uuid.uuid4().hex,
        )
        self._session.call_soon(lambda: self._add(call))
        return call.future

    def reply_to(self) -> tuple[str, str]:
        """Where answers are sent."""
        return f"reply.{self._exchange}", self._key

    def close(self) -> None:
        """Close the connection; who still waits gets what has come."""
        if self._started:
            self._session.stop(5.0)
        for call in [*self._calls.values(), *self._unsent]:
            self._finish(call)

    # The session's thread

    def opened(self, connection: Connection) -> None:
        channel = connection.channel(self, confirms=True)
        for op in exchanges(self._exchange):
            channel.declare(op)
        info = channel.declare(DeclareQueue(name="", durable=False, exclusive=True, auto_delete=True))
        assert info is not None, "a queue was declared"
        exchange, key = self.reply_to()
        channel.declare(BindQueue(queue=info.name, exchange=exchange, routing_key=key))
        channel.consume(info.name, no_ack=True, exclusive=True, arguments={})
        self._channel = channel
        self._error = None

    def lost(self, error: BrokerError) -> None:
        self._channel = None

    def turn(self, now: float) -> float:
        channel = self._channel
        while self._unsent and channel is not None:
            self._send(channel, self._unsent.pop(0), now)
        for call in [call for call in self._unsent if call.give_up <= now]:
            self._unsent.remove(call)
            error = self._error or ConnectionFailed("no connection to the broker")
            call.future.set_exception(error)
        due = min((call.give_up for call in self._unsent), default=NEVER)
        for call in list(self._calls.values()):
            if call.deadline <= now:
                self._finish(call)
            else:
                due = min(due, call.deadline)
        return due

    def delivered(self, delivery: Delivery) -> None:
        clock = delivery.envelope.headers.get("clock")
        self._time = max(self._time, clock if isinstance(clock, int) else 0) + 1
        try:
            ticket, answers = read_reply(delivery.envelope)
        except BadCommand as error:
            logger.warning("an answer cannot be read: %s", error, extra=event("answer-unreadable"))
            return
        call = self._calls.get(ticket or "")
        if call is None:
            return  # it came too late
        for node, value in answers.items():
            call.answers[node] = value
            if call.on_answer is not None:
                call.on_answer(node, value)
        if call.limit is not None and len(call.answers) >= call.limit:
            self._finish(call)

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        """Confirms are wanted for what comes back before them only."""

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        for call in list(self._calls.values()):
            if call.message_id == envelope.message_id:
                self._finish(call)  # no node listens

    def closed(self, error: BrokerError) -> None:
        raise ConnectionLost(f"the control channel was closed: {error}")

    def cancelled(self, consumer_tag: str) -> None:
        raise ConnectionLost("the queue of answers is gone")

    def _add(self, call: _Call) -> None:
        self._unsent.append(call)

    def _send(self, channel: Channel, call: _Call, now: float) -> None:
        command = call.command
        body = command_body(command)
        self._time += 1
        headers: dict[str, Any] = {"clock": self._time, "expires": 0}
        if self._secret is not None:
            headers.update(sign(self._secret, body, now=self._clock.time(), nonce=uuid.uuid4().hex))
        message = envelope(body, headers, expiration_ms=EXPIRES_MS)
        message.message_id = call.message_id
        waits = command.reply_to is not None
        channel.publish(message, self._exchange, "", mandatory=waits)
        if not waits:
            call.future.set_result({})
            return
        call.deadline = now + call.timeout
        self._calls[str(command.ticket)] = call

    def _finish(self, call: _Call) -> None:
        self._calls.pop(str(call.command.ticket), None)
        if not call.future.done():
            call.future.set_result(call.answers)

    def _failed(self, error: BrokerError, tries: int) -> None:
        self._error = error
        now = self._clock.monotonic()
        for call in self._unsent:
            # Whoever gives commands waits for the answer: no second try behind their back.
            call.give_up = min(call.give_up, now)
