"""Script: a random script of what clients do, as a state machine of hypothesis."""

from collections.abc import Callable
from typing import Any, ClassVar

import pika
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pika.adapters.blocking_connection import BlockingChannel

from tests.contract.devbroker import drawing
from tests.contract.devbroker.drawing import CONSUMERS, EVERY_QUEUE, EXCHANGES, KINDS, QUEUES, STREAM, VERDICTS
from tests.contract.devbroker.twins import MAIN, REPLY_TO, TX, Outcome, Side, Step, Twins, got

CLOSING = ("channel closed", "connection closed")
CHANGES = ["queue", "queue", "exchange", "bind", "bind", "unbind", "bind exchange", "delete", "rest", "rest"]


class Script(RuleBasedStateMachine):
    """One script; the twins compare after every step."""

    twins: ClassVar[Twins]

    @initialize(
        arguments=st.lists(drawing.working, min_size=3, max_size=3),
        kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=2),
        bindings=st.lists(
            st.tuples(drawing.queues, drawing.exchanges, drawing.patterns, drawing.bind_arguments), max_size=5
        ),
        has_stream=st.sampled_from([False, False, True]),
    )
    def start(self, arguments: list[dict[str, Any]], kinds: list[str], bindings: list[Any], has_stream: bool) -> None:
        # Delivery tags that are held, by channel; those that a transaction has settled but not committed.
        self.held: dict[str, list[int]] = {MAIN: [], TX: []}
        self.settled: list[int] = []
        self.asks = False
        # Timing may not come out alike when hypothesis tries again, and the first difference is enough.
        assert not self.twins.difference
        self.twins.log.clear()
        self.twins.is_over = False
        self.bodies = 0
        # Most scripts shall have something to work on; one queue and one exchange are left undeclared.
        for exchange, kind in zip(EXCHANGES, kinds, strict=False):
            self.declare_exchange(exchange, kind)
        for queue, given in zip(QUEUES, arguments, strict=False):
            self.declare_queue(queue, given)
        if has_stream:
            self.declare_queue(STREAM, {"x-queue-type": "stream"})
        for queue, exchange, key, given in bindings:
            self.bind(queue, exchange, key, given)

    # Each step of a rule goes through one of these.

    def do(self, name: str, step: Step, channel: str = MAIN) -> Outcome:
        return self.each(name, lambda side: side.do(channel, step))

    def each(self, name: str, action: Callable[[Side], Outcome]) -> Outcome:
        # RabbitMQ counts a message that basic.get took out of a quorum queue as a consumer; the devbroker does not.
        self.twins.compares_consumers = False
        outcome = self.twins.both(name, action)
        if outcome[0] in CLOSING:
            for channel in self.held:
                if channel not in self.twins.dev.channels:
                    self.held[channel] = []
                    self.settled = [] if channel == TX else self.settled
            self.asks = self.asks and MAIN in self.twins.dev.channels
        self.twins.compares_consumers = not any(self.held.values()) and not self.settled
        return outcome

    # Traffic.

    @rule(exchange=drawing.targets, key=drawing.keys, named=drawing.properties, mandatory=st.booleans())
    def publish(self, exchange: str, key: str, named: pika.BasicProperties, mandatory: bool) -> None:
        # Copies of one message that expire at the same moment in several queues race for their dead-letter queues.
        if named.expiration in drawing.SOON:
            named.expiration = None
        self.send(exchange, key, named, mandatory=mandatory)

    @rule(queue=drawing.queues, named=drawing.properties)
    def publish_to_a_queue(self, queue: str, named: pika.BasicProperties) -> None:
        if named.headers and not named.headers.keys().isdisjoint({"CC", "BCC"}):
            self.publish("", queue, named, True)
        else:
            self.send("", queue, named, mandatory=True)

    def send(self, exchange: str, key: str, named: pika.BasicProperties, *, mandatory: bool) -> None:
        body = self.body()
        self.do(
            f"publish {body!r} to {exchange} {key} {named} {mandatory=}",
            lambda channel: channel.basic_publish(exchange, key, body, named, mandatory=mandatory),
        )

    def body(self) -> bytes:
        self.bodies += 1
        return f"{self.bodies}".encode()

    @rule(queue=drawing.queues, no_ack=st.sampled_from([False, False, True]))
    def get(self, queue: str, no_ack: bool, channel: str = MAIN) -> None:
        outcome = self.do(
            f"get {queue} {no_ack=} on {channel}", lambda it: got(*it.basic_get(queue, auto_ack=no_ack)), channel
        )
        if outcome[0] == "ok" and outcome[1] is not None and not no_ack:
            self.held[channel].append(outcome[1][0])
            self.twins.compares_consumers = False

    @precondition(lambda self: self.held[MAIN])
    @rule(data=st.data(), multiple=st.booleans(), verdict=st.sampled_from(VERDICTS))
    def settle(self, data: Any, multiple: bool, verdict: str) -> None:
        self.settle_held(MAIN, data.draw(st.sampled_from(self.held[MAIN])), verdict, multiple)

    def settle_held(self, channel: str, tag: int, verdict: str, multiple: bool) -> list[int]:
        """Settle what `basic.get` gave; the tags that this takes."""
        multiple = multiple and not verdict.startswith("reject")
        gone = [held for held in self.held[channel] if held == tag or (multiple and held < tag)]
        self.held[channel] = [held for held in self.held[channel] if held not in gone]
        self.do(f"{verdict} {tag} {multiple=} on {channel}", settling(tag, verdict, multiple), channel)
        return gone

    # Consumers.

    @rule(name=st.sampled_from(CONSUMERS), queue=drawing.queues, prefetch=st.integers(1, 3), given=drawing.consuming)
    def consume(self, name: str, queue: str, prefetch: int, given: dict[str, Any]) -> None:
        self.each(f"consume {queue} {prefetch} {given} as {name}", lambda it: it.consume(name, queue, prefetch, given))

    @rule(name=st.sampled_from(CONSUMERS), how=st.sampled_from(["cancel", "close"]))
    def stop_consuming(self, name: str, how: str) -> None:
        if name not in self.twins.dev.channels:
            return
        if how == "cancel":
            self.do(f"cancel {name}", lambda channel: channel.basic_cancel(name) and None, name)
        else:
            self.each(f"close the channel of {name}", lambda side: ("ok", side.leave(name)))

    @precondition(lambda self: self.consumers_with_deliveries())
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), multiple=st.booleans())
    def settle_delivery(self, data: Any, verdict: str, multiple: bool) -> None:
        """The tag may be settled already; that closes the channel."""
        name = data.draw(st.sampled_from(self.consumers_with_deliveries()))
        tag = data.draw(st.sampled_from([delivered[0] for delivered in self.twins.dev.delivered[name]][-3:]))
        multiple = multiple and not verdict.startswith("reject")
        self.do(f"{verdict} delivery {tag} {multiple=} of {name}", settling(tag, verdict, multiple), name)

    def consumers_with_deliveries(self) -> list[str]:
        dev = self.twins.dev
        return [name for name in CONSUMERS if name in dev.channels and dev.delivered.get(name)]

    # Streams.

    @rule(name=st.sampled_from(CONSUMERS), prefetch=st.integers(1, 3), offset=drawing.offsets)
    def consume_the_stream(self, name: str, prefetch: int, offset: str | int) -> None:
        self.consume(name, STREAM, prefetch, {"arguments": {"x-stream-offset": offset}})

    @rule(named=drawing.properties)
    def publish_to_the_stream(self, named: pika.BasicProperties) -> None:
        self.publish("", STREAM, named, True)

    # Direct reply-to.

    @rule(queue=drawing.queues, named=drawing.properties)
    def request(self, queue: str, named: pika.BasicProperties) -> None:
        if not self.asks:
            self.asks = True
            self.each("ask for direct replies", Side.ask_for_replies)
        named.reply_to = REPLY_TO
        self.publish_to_a_queue(queue, named)

    @precondition(lambda self: self.twins.real.addresses and self.twins.dev.addresses)
    @rule()
    def reply(self) -> None:
        body = self.body()
        self.each(f"reply {body!r}", lambda side: side.reply(body))

    # Transactions.

    @rule(exchange=drawing.targets, key=drawing.keys, named=drawing.properties)
    def publish_in_a_transaction(self, exchange: str, key: str, named: pika.BasicProperties) -> None:
        if named.expiration in drawing.SOON:
            named.expiration = None
        body = self.body()

        def step(channel: BlockingChannel) -> None:
            channel.basic_publish(exchange, key, body, named)
            see_an_error(channel)

        self.do(f"publish {body!r} to {exchange} {key} {named} on tx", step, TX)

    @rule(queue=drawing.queues)
    def get_in_a_transaction(self, queue: str) -> None:
        self.get(queue, False, TX)

    @precondition(lambda self: self.held[TX])
    @rule(data=st.data(), multiple=st.booleans(), verdict=st.sampled_from(VERDICTS))
    def settle_in_a_transaction(self, data: Any, multiple: bool, verdict: str) -> None:
        tag = data.draw(st.sampled_from(self.held[TX]))
        self.settled += self.settle_held(TX, tag, verdict, multiple)

    @rule(how=st.sampled_from(["commit", "commit", "rollback"]))
    def end_a_transaction(self, how: str) -> None:
        settled, self.settled = self.settled, []
        if how == "rollback":
            # They are held again.
            self.held[TX] = sorted(self.held[TX] + settled)
            self.do("rollback", lambda channel: bool(channel.tx_rollback()), TX)
        else:
            self.do("commit", lambda channel: bool(channel.tx_commit()), TX)

    # What is done less often.

    @rule(data=st.data())
    def change(self, data: Any) -> None:
        draw = data.draw
        match draw(st.sampled_from(CHANGES)):
            case "queue":
                queue, given = draw(drawing.queues), draw(drawing.queue_arguments)
                flags = draw(
                    st.sampled_from([{}, {}, {}, {"durable": False}, {"auto_delete": True}, {"exclusive": True}])
                )
                self.declare_queue(queue, given, **flags)
            case "exchange":
                exchange, kind, alternate = (draw(it) for it in (drawing.exchanges, drawing.kinds, drawing.alternates))
                flags = draw(st.sampled_from([{}, {}, {"auto_delete": True}, {"internal": True}]))
                self.declare_exchange(exchange, kind, alternate, **flags)
            case "bind":
                self.bind(*(draw(it) for it in drawing.binding))
            case "unbind":
                self.unbind(*(draw(it) for it in drawing.binding))
            case "bind exchange":
                self.bind_exchange(draw(drawing.exchanges), draw(drawing.exchanges), draw(drawing.patterns))
            case "delete":
                name = draw(st.sampled_from([*EVERY_QUEUE, *EXCHANGES]))
                self.delete(name, draw(st.booleans()), draw(st.booleans()))
            case _:
                self.rest(draw(st.sampled_from(["recover", "purge", "unknown tag", "get the stream"])), data)

    def rest(self, what: str, data: Any) -> None:
        match what:
            case "recover":
                self.held[MAIN] = []
                self.do("recover", lambda channel: bool(channel.basic_recover(requeue=True)))
            case "purge":
                queue = data.draw(st.sampled_from([*QUEUES, *QUEUES, STREAM]))
                self.do(f"purge {queue}", lambda channel: channel.queue_purge(queue).method.message_count)
            case "unknown tag":
                self.do("ack 1000", settling(1000, "ack", False))
            case _:
                self.get(STREAM, False)

    def declare_queue(self, queue: str, arguments: dict[str, Any], **flags: bool) -> None:
        # For the same reason only one queue lets everything expire at once.
        if queue != QUEUES[0] and arguments.get("x-message-ttl") == 1:
            arguments = arguments | {"x-message-ttl": 3_600_000}
        # From 3.13 quorum queues count what surrounds a body too, in a size that only RabbitMQ knows.
        if self.twins.emulates != "3.10" and arguments.get("x-queue-type") == "quorum":
            arguments = {name: value for name, value in arguments.items() if name != "x-max-length-bytes"}
        given: dict[str, Any] = {"durable": True, "arguments": arguments} | flags

        def step(channel: BlockingChannel) -> tuple[str, int]:
            method = channel.queue_declare(queue, **given).method
            return (method.queue, method.message_count)

        self.do(f"declare queue {queue} {given}", step)

    def declare_exchange(self, exchange: str, kind: str, alternate: str | None = None, **flags: bool) -> None:
        arguments = {"alternate-exchange": alternate} if alternate else {}
        self.do(
            f"declare exchange {exchange} {kind} {arguments} {flags}",
            lambda channel: bool(channel.exchange_declare(exchange, kind, arguments=arguments, **flags)),
        )

    def bind(self, queue: str, exchange: str, key: str, given: dict[str, Any]) -> None:
        self.do(f"bind {queue} {exchange} {key} {given}", lambda it: bool(it.queue_bind(queue, exchange, key, given)))

    def unbind(self, queue: str, exchange: str, key: str, given: dict[str, Any]) -> None:
        self.do(
            f"unbind {queue} {exchange} {key} {given}", lambda it: bool(it.queue_unbind(queue, exchange, key, given))
        )

    def bind_exchange(self, destination: str, source: str, key: str) -> None:
        self.do(
            f"bind exchange {destination} {source} {key}", lambda it: bool(it.exchange_bind(destination, source, key))
        )

    def delete(self, name: str, if_unused: bool, if_empty: bool) -> None:
        if name in EXCHANGES:
            self.do(f"delete {name} {if_unused=}", lambda channel: bool(channel.exchange_delete(name, if_unused)))
            return
        self.do(
            f"delete {name} {if_unused=} {if_empty=}",
            lambda channel: channel.queue_delete(name, if_unused=if_unused, if_empty=if_empty).method.message_count,
        )

    def teardown(self) -> None:
        for side in (self.twins.real, self.twins.dev):
            side.clean(EVERY_QUEUE, EXCHANGES)


def settling(tag: int, verdict: str, multiple: bool) -> Step:
    """A step that settles a delivery."""

    def step(channel: BlockingChannel) -> None:
        if verdict == "ack":
            channel.basic_ack(tag, multiple)
        elif verdict.startswith("reject"):
            channel.basic_reject(tag, requeue=verdict != "reject")
        else:
            channel.basic_nack(tag, multiple, requeue=verdict == "requeue")
        see_an_error(channel)

    return step


def see_an_error(channel: BlockingChannel) -> None:
    """What is not answered fails later: ask for something that is, so that it fails here."""
    channel.exchange_declare("amq.direct", passive=True)
