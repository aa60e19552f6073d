"""A broker with clients that only take note: what the tests of semantics stand on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.channel import Channel
from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.errors import Refusal
from amqtask.devbroker.exchange import Binding, ExchangeSpec
from amqtask.devbroker.message import Message
from amqtask.devbroker.properties import encode, scan
from amqtask.devbroker.queue import Queue
from amqtask.devbroker.session import Session
from amqtask.devbroker.tables import Value

START = 1_000_000_000.0


@dataclass
class Client:
    """A session and one channel; a sink of both."""

    broker: Broker
    session: Session = field(init=False)
    channel: Channel = field(init=False)
    deliveries: list[tuple[str, int, bool, Message]] = field(default_factory=list)
    returns: list[Message] = field(default_factory=list)
    confirms: list[tuple[int, bool, bool]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    errors: list[Refusal] = field(default_factory=list)
    alarms: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = self.broker.connect(self)
        self.channel = self.session.open_channel(1, self)

    # The sinks.

    def deliver(self, consumer: Consumer, delivery_tag: int, redelivered: bool, message: Message) -> None:
        self.deliveries.append((consumer.tag, delivery_tag, redelivered, message))

    def returned(self, code: int, text: str, message: Message) -> None:
        self.returns.append(message)

    def confirmed(self, sequence: int, *, multiple: bool, ok: bool) -> None:
        self.confirms.append((sequence, multiple, ok))

    def cancelled(self, consumer_tag: str) -> None:
        self.cancels.append(consumer_tag)

    def closed(self, error: Refusal) -> None:
        self.errors.append(error)

    def blocked(self, reason: str) -> None:
        self.alarms.append(reason)

    def unblocked(self) -> None:
        self.alarms.append(None)

    # Short ways.

    def declare(
        self, name: str, *, durable: bool = True, exclusive: bool = False, auto_delete: bool = False, **arguments: Value
    ) -> Queue:
        """A queue; `x_message_ttl=1` is the argument x-message-ttl."""
        spec = QueueSpec(
            name=name,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments={key.replace("_", "-"): value for key, value in arguments.items()},
        )
        return self.channel.vhost.declare_queue(spec, by=self.session)

    def exchange(self, name: str, kind: str = "direct", **arguments: Value) -> None:
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.channel.vhost.declare_exchange(ExchangeSpec(name=name, kind=kind, arguments=given))

    def bind(self, queue: str, exchange: str, key: str = "", arguments: Mapping[str, Value] | None = None) -> None:
        binding = Binding(
            source=exchange, destination=("queue", queue), routing_key=key, arguments=dict(arguments or {})
        )
        self.channel.vhost.bind(binding, by=self.session)

    def publish(self, key: str, body: str = "", *, exchange: str = "", mandatory: bool = False, **named: Value) -> None:
        self.channel.publish(exchange, key, scan(encode(named)), body.encode(), mandatory=mandatory)

    def consume(
        self, queue: str, tag: str = "c", *, prefetch: int = 0, no_ack: bool = False, **arguments: Value
    ) -> Consumer:
        self.channel.qos(prefetch)
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        consumer = self.channel.consume(queue, tag=tag, no_ack=no_ack, arguments=given)
        self.channel.start(consumer)
        return consumer

    @property
    def bodies(self) -> list[str]:
        return [message.body.decode() for _, _, _, message in self.deliveries]

    def get(self, queue: str, *, no_ack: bool = True) -> Message | None:
        got = self.channel.get(queue, no_ack=no_ack)
        return got[2] if got else None

    def drain(self, queue: str) -> list[str]:
        """Every body that `basic.get` gives."""
        bodies = []
        while (message := self.get(queue)) is not None:
            bodies.append(message.body.decode())
        return bodies


def broker(emulate: str = "4.3", **options: object) -> Broker:
    return Broker(now=START, emulate=emulate, **options)  # type: ignore[arg-type]  # options of Broker


def client(emulate: str = "4.3", **options: object) -> Client:
    return Client(broker(emulate, **options))
