"""Shares: a node's part in the rate limits of the whole cluster, on its agent's connection. RabbitMQ alone keeps them.

For each such task there is a queue with a single active consumer. All nodes that have wanted to start the task consume
it, and the broker gives what is in it to one of them, the keeper: its ledger (`core.sharing`) grants. Nodes send their
claims to that queue, and get grants in a queue of their own. When the keeper's connection ends, the broker makes
another node the keeper; claims are repeated every second, so it knows them soon.
"""

import collections
import json
from collections.abc import Callable
from dataclasses import replace

from amqtask.clock import Clock
from amqtask.core.declare import Arguments, DeclareQueue
from amqtask.core.message import TRANSIENT, Delivery, Envelope
from amqtask.core.sharing import REPEAT, Claim, Ledger
from amqtask.drivers.base import Channel, Connection, QuietSink
from amqtask.errors import BrokerError, ChannelClosed
from amqtask.log import event, get_logger
from amqtask.session import NEVER

logger = get_logger("worker")

CLAIM = "aqt.rate.claim"
GRANT = "aqt.rate.grant"
AGAIN = 5.0
"""Seconds after which a refused channel is tried again."""


def claims_queue(task: str) -> DeclareQueue:
    """The queue of a task's claims."""
    arguments: Arguments = {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-message-ttl": 10_000,
        "x-max-length": 10_000,
        "x-expires": 3_600_000,
    }
    return DeclareQueue(name=f"aqt.rate.{task}", arguments=arguments)


class Shares(QuietSink):
    """Claims, and grants where it is the keeper. A participant of the agent's session, on whose thread all happens."""

    def __init__(self, clock: Clock, granted: Callable[[str, int], None]) -> None:
        """`granted` hears how many starts of a task this node was granted."""
        self._clock = clock
        self._granted = granted
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._grants = ""
        """The queue of this node's grants."""
        self._claims: dict[str, Claim] = {}
        self._sent: dict[str, tuple[Claim, float]] = {}
        self._consumed: dict[str, str] = {}
        """Tasks whose queue is consumed, by consumer tag."""
        self._ledgers: dict[str, Ledger] = {}
        self._had_at: dict[str, float] = {}
        self._retry_at = 0.0

    def claim(self, task: str, claim: Claim) -> None:
        """The node's claim from now on."""
        self._claims[task] = claim

    # The session's calls

    def opened(self, connection: Connection) -> None:
        self._connection = connection
        self._retry_at = 0.0

    def lost(self, error: BrokerError) -> None:
        self._connection = None
        self._forget()

    def turn(self, now: float) -> float:
        if not self._claims or self._connection is None:
            return NEVER
        if self._channel is None and now < self._retry_at:
            return self._retry_at
        try:
            channel = self._channel or self._open(self._connection)
            for task in self._claims.keys() - self._consumed.values():
                channel.declare(claims_queue(task))
                tag = channel.consume(claims_queue(task).name, no_ack=True, exclusive=False, arguments={})
                self._consumed[tag] = task
        except ChannelClosed as error:
            self.closed(error)
            return self._retry_at
        return min(self._send_claims(channel, now), self._grant(channel, now))

    # The channel's calls

    def delivered(self, delivery: Delivery) -> None:
        message, now = delivery.envelope, self._clock.monotonic()
        try:
            form = json.loads(message.body)
            if message.type == GRANT:
                task, count = str(form["task"]), int(form["count"])
                self._had_at[task] = now
                self._granted(task, count)
            elif message.type == CLAIM and message.reply_to:
                task = self._consumed[delivery.consumer_tag]
                ledger = self._ledgers.setdefault(task, Ledger(now))
                ledger.hear(message.reply_to, Claim.from_json(form), now)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("no claim and no grant: %s", error, extra=event("claim-refused"))

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        """A node is gone: its grants are for others."""
        form = json.loads(envelope.body)
        ledger = self._ledgers.get(form["task"]) if envelope.type == GRANT else None
        if ledger is not None:
            ledger.drop(routing_key, form["count"])

    def cancelled(self, consumer_tag: str) -> None:
        """Its queue was deleted, or the node that had it is gone: the next turn makes it again."""
        task = self._consumed.pop(consumer_tag, None)
        if task is not None:
            self._ledgers.pop(task, None)
            self._sent.pop(task, None)

    def closed(self, error: BrokerError) -> None:
        self._forget()
        self._retry_at = self._clock.monotonic() + AGAIN
        logger.error(
            "rate limits of the cluster cannot be kept, and their tasks wait: %s; trying again in %g s",
            error,
            AGAIN,
            extra=event("shares-refused"),
        )

    # Inside

    def _open(self, connection: Connection) -> Channel:
        channel = connection.channel(self, confirms=False)
        info = channel.declare(DeclareQueue(name="", durable=False, exclusive=True, auto_delete=True))
        assert info is not None, "a queue was declared"
        channel.consume(info.name, no_ack=True, exclusive=True, arguments={})
        self._channel, self._grants = channel, info.name
        return channel

    def _forget(self) -> None:
        self._channel = None
        self._consumed.clear()
        self._ledgers.clear()
        self._sent.clear()

    def _send_claims(self, channel: Channel, now: float) -> float:
        due = NEVER
        for task, claim in self._claims.items():
            before, sent_at = self._sent.get(task, (None, 0.0))
            changed = before is None or (before.wanted, before.rate) != (claim.wanted, claim.rate)
            if changed or (claim.waits and now >= sent_at + REPEAT):
                had_at = self._had_at.get(task)
                full = replace(claim, ago=None if had_at is None else now - had_at)
                body = json.dumps(full.to_json()).encode()
                message = Envelope(body=body, type=CLAIM, reply_to=self._grants, delivery_mode=TRANSIENT)
                channel.publish(message, "", claims_queue(task).name, mandatory=False)
                self._sent[task] = (claim, now)
                sent_at = now
            if claim.waits:
                due = min(due, sent_at + REPEAT)
        return due

    def _grant(self, channel: Channel, now: float) -> float:
        due = NEVER
        for task, ledger in self._ledgers.items():
            counts: collections.Counter[str] = collections.Counter()
            while (node := ledger.take(now)) is not None:
                counts[node] += 1
            for node, count in counts.items():
                body = json.dumps({"task": task, "count": count}).encode()
                message = Envelope(body=body, type=GRANT, delivery_mode=TRANSIENT)
                channel.publish(message, "", node, mandatory=True)
            due = min(due, ledger.due(now))
        return due
