"""Twins.

The same script on a real RabbitMQ and on the devbroker, with everything that a client can see compared after each step.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

SETTLE_TIMEOUT = 10.0
EXPIRY_PAUSE = 0.015
"""Seconds in which a message with a time to live of 1 ms is surely gone, on both."""
REPLY_TO = "amq.rabbitmq.reply-to"

MAIN = "main"
"""The channel that declares, publishes with confirms and gets; the one that asks for direct replies too."""
TX = "tx"
"""A channel in transaction mode."""
PROBE = "probe"
"""A channel that looks at queues."""

Outcome = tuple[Any, ...]
Step = Callable[[BlockingChannel], Any]


class Side:
    """One broker and what a client has seen of it: channels by name, and what came to their consumers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channels: dict[str, BlockingChannel] = {}
        self.delivered: dict[str, list[Outcome]] = {}
        self.cancelled: list[str] = []
        self.addresses: list[str] = []
        """Direct reply-to addresses that came with requests. They are random, so they stay on their side."""

    @property
    def server_version(self) -> str:
        version = self.connection._impl.server_properties["version"]
        return version if isinstance(version, str) else version.decode()

    def clean(self, queues: Iterable[str], exchanges: Iterable[str]) -> None:
        """Delete everything, and forget what was seen."""
        for name in list(self.channels):
            self.leave(name)
        for queue in queues:
            self.do(MAIN, lambda channel, queue=queue: channel.queue_delete(queue))
        for exchange in exchanges:
            self.do(MAIN, lambda channel, exchange=exchange: channel.exchange_delete(exchange))
        self.leave(MAIN)
        self.delivered, self.cancelled, self.addresses = {}, [], []

    def channel(self, name: str) -> BlockingChannel:
        """The open channel of this name."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = self.connection.channel()
            if name == MAIN:
                channel.confirm_delivery()
            elif name == TX:
                channel.tx_select()
            channel.add_on_cancel_callback(lambda frame: self.cancelled.append(frame.method.consumer_tag))
        return channel

    def leave(self, name: str) -> None:
        """Close the channel of this name, if there is one."""
        channel = self.channels.pop(name, None)
        if channel is not None and channel.is_open:
            channel.close()

    def do(self, name: str, step: Step) -> Outcome:
        """The result of a step, or the code with which the broker has closed the channel or the connection."""
        try:
            return ("ok", step(self.channel(name)))
        except pika.exceptions.UnroutableError as error:
            return ("returned", [_content(message.properties, message.body) for message in error.messages])
        except pika.exceptions.NackError:
            return ("nacked",)
        except pika.exceptions.ChannelClosedByBroker as error:
            self.channels = {name: channel for name, channel in self.channels.items() if channel.is_open}
            return ("channel closed", error.reply_code)
        except pika.exceptions.ConnectionClosedByBroker as error:
            self.connection = pika.BlockingConnection(pika.URLParameters(self._url))
            self.channels = {}
            return ("connection closed", error.reply_code)

    def consume(self, name: str, queue: str, prefetch: int, given: dict[str, Any]) -> Outcome:
        """Begin on a new channel of this name; `given` are the other arguments of `basic_consume`."""
        self.leave(name)
        self.delivered[name] = []

        def step(channel: BlockingChannel) -> str:
            channel.basic_qos(prefetch_count=prefetch)
            return self._listen(name, channel, queue, **given)

        return self.do(name, step)

    def ask_for_replies(self) -> Outcome:
        """Consume the pseudo-queue of direct replies on the main channel."""
        return self.do(MAIN, lambda channel: self._listen("replies", channel, REPLY_TO, auto_ack=True))

    def reply(self, body: bytes) -> Outcome:
        """Publish to the last address that came with a request."""
        address = self.addresses[-1]
        return self.do(MAIN, lambda channel: channel.basic_publish("", address, body, mandatory=True))

    def _listen(self, name: str, channel: BlockingChannel, queue: str, **given: Any) -> str:
        seen = self.delivered.setdefault(name, [])

        def note(_: BlockingChannel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            if (properties.reply_to or "").startswith(REPLY_TO):
                self.addresses.append(properties.reply_to)
            key = _without_address(method.routing_key)
            content = _content(properties, body)
            seen.append((method.delivery_tag, method.redelivered, method.exchange, key, content))

        return channel.basic_consume(queue, note, consumer_tag=name, **given)

    def view(self, queues: list[str], *, consumers: bool) -> Outcome:
        """What can be seen without changing anything: the depth of every queue, and what the consumers have got."""
        self.connection.process_data_events(0)
        depths = []
        for queue in queues:
            try:
                declared = self.channel(PROBE).queue_declare(queue, passive=True).method
                depths.append((queue, declared.message_count, declared.consumer_count if consumers else None))
            except pika.exceptions.ChannelClosedByBroker as error:
                del self.channels[PROBE]
                depths.append((queue, error.reply_code))
        delivered = {name: tuple(seen) for name, seen in self.delivered.items() if seen}
        return (tuple(depths), delivered, tuple(self.cancelled))

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
    difference: str = ""
    """The first that was found, with its script."""

    def both(self, name: str, action: Callable[[Side], Outcome]) -> Outcome:
        """Do it on both and compare the outcomes; then wait until all else is equal too."""
        if self.is_over:
            return ("over",)
        self.steps += 1
        self.log.append(name)
        expected = action(self.real)
        actual = action(self.dev)
        if self.is_race():
            self.is_over = True
            return actual
        if actual != expected:
            self._differ(name, expected, actual)
        self._settle(name)
        return actual

    def _settle(self, name: str) -> None:
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
                self._differ(f"after {name}", expected, actual)
            time.sleep(0.05)

    def _differ(self, what: str, expected: Outcome, actual: Outcome) -> NoReturn:
        steps = "\n".join(self.log)
        self.difference = f"{what}:\nRabbitMQ  {expected}\ndevbroker {actual}\nThe script, a step a line:\n{steps}"
        raise AssertionError(self.difference)

    def close(self) -> None:
        self.real.close()
        self.dev.close()


def _content(properties: pika.BasicProperties, body: bytes) -> Outcome:
    named = {name: value for name, value in vars(properties).items() if value is not None}
    if "headers" in named:
        named["headers"] = _without_times(named["headers"])
    if "reply_to" in named:
        named["reply_to"] = _without_address(named["reply_to"])
    return (named, body)


def got(frame: Any, properties: pika.BasicProperties | None, body: bytes | None) -> Outcome | None:
    """What `basic.get` gave, to be compared."""
    if frame is None or properties is None or body is None:
        return None
    key = _without_address(frame.routing_key)
    content = _content(properties, body)
    return (frame.delivery_tag, frame.redelivered, frame.exchange, key, frame.message_count, content)


def _without_address(name: str) -> str:
    return f"{REPLY_TO}.*" if name.startswith(f"{REPLY_TO}.") else name


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name != "time"}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
