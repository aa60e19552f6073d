"""Looks at the exchanges and queues of an example from outside, as an operator would, and removes them afterwards."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from amqtask import App
from examples.brokers import NoBroker, without_password


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of a dead-letter queue: what it asked for, and what its headers say of the error."""

    queue: str
    arguments: Sequence[object]
    error: str
    detail: str


class Objects:
    """The exchanges and queues that an app's configuration declares."""

    def __init__(self, app: App) -> None:
        self._url = app.config.broker.url or ""
        self._exchanges = tuple(app.topology.exchanges)
        self._queues = tuple(app.topology.queues)

    def standing(self) -> list[str]:
        """Which of them the broker has already.

        Raises:
            NoBroker: it cannot be reached.
        """
        exchanges = [f"exchange {name}" for name in self._exchanges if self._has_exchange(name)]
        return exchanges + [f"queue {name}" for name in self._queues if self.depth(name) is not None]

    def depth(self, queue: str) -> int | None:
        """How many messages wait in a queue; None if there is no such queue."""
        with self._channel() as channel:
            try:
                count: int = channel.queue_declare(queue, passive=True).method.message_count
            except pika.exceptions.ChannelClosedByBroker:
                return None
            return count

    def dead_letters(self) -> list[DeadLetter]:
        """Read what lies in the dead-letter queues, and leave it there."""
        with self._channel() as channel:
            # What is read and not acknowledged goes back when the channel is closed.
            return [letter for queue in self._queues if queue.endswith(".dlq") for letter in _read(channel, queue)]

    def delete(self) -> None:
        """Remove them, with all that is in them."""
        with self._channel() as channel:
            for queue in self._queues:
                channel.queue_delete(queue)
            for exchange in self._exchanges:
                channel.exchange_delete(exchange)

    def _has_exchange(self, name: str) -> bool:
        with self._channel() as channel:
            try:
                channel.exchange_declare(name, passive=True)
            except pika.exceptions.ChannelClosedByBroker:
                return False
            return True

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        # A connection for each question: one that idles while a demo runs sends no heartbeats, and the broker cuts it.
        try:
            connection = pika.BlockingConnection(pika.URLParameters(self._url))
        except (pika.exceptions.AMQPError, OSError) as error:
            raise NoBroker(f"cannot reach {without_password(self._url)}: {error!r}") from error
        with connection:
            yield connection.channel()


def _read(channel: BlockingChannel, queue: str) -> Iterator[DeadLetter]:
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return
        yield DeadLetter(
            queue=queue,
            arguments=json.loads(body)[0],
            error=properties.headers["x-aqt-death-error"],
            detail=properties.headers["x-aqt-death-detail"],
        )
