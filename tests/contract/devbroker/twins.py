"""Twins.

The same script on a real RabbitMQ and on the devbroker, with everything that a client can see compared after each step.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

SETTLE_TIMEOUT = 10.0
EXPIRY_PAUSE = 0.04
"""Seconds in which a message with a time to live of 1 ms is surely gone, on both."""

Outcome = tuple[Any, ...]


class Side:
    """One broker and what a client has seen of it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._open()
        self.consuming: BlockingChannel | None = None
        self.delivered: list[Outcome] = []
        self.cancelled = 0

    @property
    def server_version(self) -> str:
        version = self.connection._impl.server_properties["version"]
        return version if isinstance(version, str) else version.decode()

    def clean(self, queues: list[str], exchanges: list[str]) -> None:
        """Delete everything, and forget what was seen."""
        self.stop_consuming()
        for queue in queues:
            self.do(lambda channel, queue=queue: channel.queue_delete(queue))
        for exchange in exchanges:
            self.do(lambda channel, exchange=exchange: channel.exchange_delete(exchange))
        self.channel.close()
        self.channel = self._open()
        self.delivered, self.cancelled = [], 0

    def _open(self) -> BlockingChannel:
        channel = self.connection.channel()
        channel.confirm_delivery()
        return channel

    def do(self, step: Callable[[BlockingChannel], Any], *, on_consumer: bool = False) -> Outcome:
        """The result of a step, or the code with which the broker has closed the channel or the connection."""
        channel = self.consuming if on_consumer and self.consuming is not None else self.channel
        try:
            return ("ok", step(channel))
        except pika.exceptions.UnroutableError as error:
            return ("returned", [_content(message.properties, message.body) for message in error.messages])
        except pika.exceptions.NackError:
            return ("nacked",)
        except pika.exceptions.ChannelClosedByBroker as error:
            self._reopen()
            return ("channel closed", error.reply_code)
        except pika.exceptions.ConnectionClosedByBroker as error:
            self.connection = pika.BlockingConnection(pika.URLParameters(self._url))
            self.channel, self.consuming = self._open(), None
            return ("connection closed", error.reply_code)

    def _reopen(self) -> None:
        if self.channel.is_closed:
            self.channel = self._open()
        if self.consuming is not None and self.consuming.is_closed:
            self.consuming = None

    def consume(self, queue: str, prefetch: int) -> Outcome:
        self.stop_consuming()
        self.delivered = []
        channel = self.consuming = self.connection.channel()
        channel.basic_qos(prefetch_count=prefetch)
        channel.add_on_cancel_callback(self._on_cancel)
        return self.do(lambda _: channel.basic_consume(queue, self._on_delivery, consumer_tag="c"), on_consumer=True)

    def stop_consuming(self) -> None:
        if self.consuming is not None and self.consuming.is_open:
            self.consuming.close()
        self.consuming = None

    def _on_delivery(
        self, channel: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self.delivered.append(
            (method.delivery_tag, method.redelivered, method.exchange, method.routing_key, _content(properties, body))
        )

    def _on_cancel(self, frame: Any) -> None:
        self.cancelled += 1

    def view(self, queues: list[str], *, consumers: bool) -> Outcome:
        """What can be seen without changing anything: the depth of every queue, and what the consumer has got."""
        self.connection.process_data_events(0)
        depths = []
        for queue in queues:
            probe = self.connection.channel()
            try:
                declared = probe.queue_declare(queue, passive=True).method
                depths.append((queue, declared.message_count, declared.consumer_count if consumers else None))
                probe.close()
            except pika.exceptions.ChannelClosedByBroker as error:
                depths.append((queue, error.reply_code))
        return (tuple(depths), tuple(self.delivered), self.cancelled)

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()


@dataclass
class Twins:
    """Both sides of a comparison."""

    real: Side
    dev: Side
    queues: list[str]
    emulates: str
    steps: int = 0
    compares_consumers: bool = True
    is_race: Callable[[], bool] = lambda: False
    """Whether the last step on the devbroker had an outcome that RabbitMQ leaves to chance."""
    is_over: bool = False
    """Whether the script has ended in a race."""
    log: list[str] = field(default_factory=list)

    def both(self, name: str, step: Callable[[BlockingChannel], Any], *, on_consumer: bool = False) -> Outcome:
        """Do it on both and compare the outcomes; then wait until all else is equal too."""
        self.steps += 1
        self.log.append(name)
        expected = self.real.do(step, on_consumer=on_consumer)
        actual = self.dev.do(step, on_consumer=on_consumer)
        if self.is_race():
            self.is_over = True
            return actual
        assert actual == expected, f"{name}: RabbitMQ {expected}, devbroker {actual}\n" + "\n".join(self.log[-60:])
        self.settle(name)
        return actual

    def consume(self, queue: str, prefetch: int) -> None:
        self.steps += 1
        self.log.append(f"consume {queue} {prefetch}")
        assert self.dev.consume(queue, prefetch) == self.real.consume(queue, prefetch), self.log[-60:]
        self.settle(f"consume {queue}")

    def stop_consuming(self) -> None:
        self.steps += 1
        self.log.append("stop consuming")
        self.real.stop_consuming()
        self.dev.stop_consuming()
        self.settle("stop consuming")

    def settle(self, name: str) -> None:
        """RabbitMQ dead-letters, expires and delivers in its own time: wait until both show the same."""
        time.sleep(EXPIRY_PAUSE)
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while True:
            actual, expected = (
                side.view(self.queues, consumers=self.compares_consumers) for side in (self.dev, self.real)
            )
            if actual == expected:
                return
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"after {name}:\nRabbitMQ  {expected}\ndevbroker {actual}\n" + "\n".join(self.log[-60:])
                )
            time.sleep(0.05)

    def close(self) -> None:
        self.real.close()
        self.dev.close()


def _content(properties: pika.BasicProperties, body: bytes) -> Outcome:
    named = {name: value for name, value in vars(properties).items() if value is not None}
    if "headers" in named:
        named["headers"] = _without_times(named["headers"])
    return (named, body)


def got(frame: Any, properties: pika.BasicProperties | None, body: bytes | None) -> Outcome | None:
    """What `basic.get` gave, to be compared."""
    if frame is None or properties is None or body is None:
        return None
    return (
        frame.delivery_tag,
        frame.redelivered,
        frame.exchange,
        frame.routing_key,
        frame.message_count,
        _content(properties, body),
    )


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name != "time"}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
