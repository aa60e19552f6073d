"""Patience: how long a channel may leave its deliveries unacknowledged, and what happens then."""

import math
from typing import Protocol

from amqtask.devbroker.arguments import QueueKind
from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.context import Context
from amqtask.devbroker.emulate import ConsumerTimeout
from amqtask.devbroker.errors import Refusal, precondition_failed
from amqtask.devbroker.queue import Queue
from amqtask.devbroker.timers import Timer
from amqtask.devbroker.unacked import Unacked

LOOKS_EVERY = 60.0
"""Seconds: how often RabbitMQ before 4.3 looks for deliveries that are not acknowledged."""


class Holder(Protocol):
    """The channel."""

    number: int
    context: Context
    unacked: Unacked

    def fail(self, error: Refusal) -> None: ...
    def drop_consumer(self, consumer: Consumer) -> None: ...


class Patience:
    """One timer for the delivery that will be too old first; RabbitMQ's consumer timeout. Times are in seconds."""

    def __init__(self, holder: Holder, default: float) -> None:
        self._holder = holder
        self._default = default
        self._timer: Timer | None = None
        self._has_ended = False

    @property
    def is_watching(self) -> bool:
        return self._timer is not None

    def timeout(self, consumer: Consumer, queue: Queue) -> float | None:
        """How long a delivery from `queue` to `consumer` may stay unacknowledged; None is for ever."""
        profile = self._holder.context.profile
        of_queue = queue.spec.consumer_timeout_ms
        if profile.consumer_timeout is ConsumerTimeout.CANCELS_CONSUMER:
            asked = consumer.arguments.get("x-consumer-timeout", of_queue)
            timeout = asked / 1000 if isinstance(asked, int) else self._default
            return timeout if queue.spec.kind is QueueKind.QUORUM else None
        if profile.queue_consumer_timeout and of_queue is not None:
            return of_queue / 1000
        return self._default

    def watch(self) -> None:
        """Come back when the first delivery is too old, if there is any that can become so."""
        if self._has_ended:
            return
        context = self._holder.context
        due = min(
            (
                held.since + held.consumer.timeout
                for held in self._holder.unacked.all()
                if held.consumer and held.consumer.timeout
            ),
            default=None,
        )
        if due is not None:
            if context.profile.consumer_timeout is ConsumerTimeout.CLOSES_CHANNEL:
                due = math.ceil(due / LOOKS_EVERY) * LOOKS_EVERY
            self._timer = context.timers.at(due, self._check)

    def end(self) -> None:
        """The channel is closed."""
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        context = self._holder.context
        for held in self._holder.unacked.all():
            consumer = held.consumer
            if consumer is None or consumer.timeout is None or held.since + consumer.timeout > context.now:
                continue
            if context.profile.consumer_timeout is ConsumerTimeout.CLOSES_CHANNEL:
                self._holder.fail(_too_late(self._holder.number, consumer.timeout))
                return
            self._holder.drop_consumer(consumer)
        self.watch()


def _too_late(channel: int, timeout: float) -> Refusal:
    return precondition_failed(
        f"delivery acknowledgement on channel {channel} timed out. Timeout value used: {int(timeout * 1000)} ms. "
        "This timeout value can be configured, see consumers doc guide to learn more"
    )
