"""Random scripts on RabbitMQ and on the devbroker.

AMQTASK_DIFFERENTIAL_STEPS says how many steps are compared in all; the default is a taste, 10,000 take a quarter of an
hour.
"""

import os
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from amqtask.devbroker.emulate import PROFILES
from amqtask.devbroker.message import Message
from amqtask.devbroker.queue import Death, Queue
from amqtask.devbroker.server import Server
from amqtask.devbroker.vhost import VirtualHost
from tests.contract.devbroker import drawing
from tests.contract.devbroker.drawing import EXCHANGES, KINDS, QUEUES
from tests.contract.devbroker.twins import Side, Twins, got

pytestmark = pytest.mark.matrix

STEPS = int(os.environ.get("AMQTASK_DIFFERENTIAL_STEPS", "400"))
STEPS_A_SCRIPT = 40

VERDICTS = ["ack", "nack", "requeue", "reject", "reject and requeue"]


class Script(RuleBasedStateMachine):
    """One script; the twins compare after every step."""

    twins: Twins

    @initialize(
        arguments=st.lists(drawing.working, min_size=3, max_size=3),
        kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=2),
        bindings=st.lists(
            st.tuples(drawing.queues, drawing.exchanges, drawing.patterns, drawing.bind_arguments), max_size=5
        ),
    )
    def start(self, arguments: list[dict[str, Any]], kinds: list[str], bindings: list[Any]) -> None:
        self.held: list[int] = []
        self.twins.log.clear()
        self.twins.is_over = False
        self.bodies = 0
        # Most scripts shall have something to work on; one queue and one exchange are left undeclared.
        for exchange, kind in zip(EXCHANGES, kinds, strict=False):
            self.declare_exchange(exchange, kind, False, None)
        for queue, given in zip(QUEUES, arguments, strict=False):
            self.declare_queue(queue, given, True, False)
        for queue, exchange, key, given in bindings:
            self.bind(queue, exchange, key, given)

    def do(self, name: str, step: Any, *, on_consumer: bool = False) -> Any:
        if self.twins.is_over:
            return ("over",)
        # RabbitMQ counts a message that basic.get took out of a quorum queue as a consumer; the devbroker does not.
        self.twins.compares_consumers = False
        outcome = self.twins.both(name, step, on_consumer=on_consumer)
        if outcome[0] in ("channel closed", "connection closed"):
            self.held.clear()
        self.twins.compares_consumers = not self.held
        return outcome

    # Traffic.

    @rule(exchange=drawing.targets, key=drawing.keys, named=drawing.properties, mandatory=st.booleans())
    def publish(self, exchange: str, key: str, named: pika.BasicProperties, mandatory: bool) -> None:
        # Copies of one message that expire at the same moment in several queues race for their dead-letter queues.
        if named.expiration in drawing.SOON:
            named.expiration = None
        self.send(exchange, key, named, mandatory)

    def send(self, exchange: str, key: str, named: pika.BasicProperties, mandatory: bool) -> None:
        self.bodies += 1
        body = f"{self.bodies}".encode()
        self.do(
            f"publish {body!r} to {exchange} {key} {named} {mandatory=}",
            lambda channel: channel.basic_publish(exchange, key, body, named, mandatory=mandatory),
        )

    @rule(queue=drawing.queues, named=drawing.properties)
    def publish_to_a_queue(self, queue: str, named: pika.BasicProperties) -> None:
        if named.headers and not named.headers.keys().isdisjoint({"CC", "BCC"}):
            self.publish("", queue, named, True)
        else:
            self.send("", queue, named, True)

    @rule(queue=drawing.queues, no_ack=st.sampled_from([False, False, True]))
    def get(self, queue: str, no_ack: bool) -> None:
        outcome = self.do(f"get {queue} {no_ack=}", lambda channel: got(*channel.basic_get(queue, auto_ack=no_ack)))
        if outcome[0] == "ok" and outcome[1] is not None and not no_ack:
            self.held.append(outcome[1][0])
            self.twins.compares_consumers = False

    @precondition(lambda self: self.held)
    @rule(data=st.data(), multiple=st.booleans(), verdict=st.sampled_from(VERDICTS))
    def settle(self, data: Any, multiple: bool, verdict: str) -> None:
        tag = data.draw(st.sampled_from(self.held))
        multiple = multiple and not verdict.startswith("reject")
        gone = {held for held in self.held if held == tag or (multiple and held < tag)}
        self.held = [held for held in self.held if held not in gone]
        self.do(f"{verdict} {tag} {multiple=}", lambda channel: settle(channel, tag, verdict, multiple))

    @rule(queue=drawing.queues, prefetch=st.integers(1, 3))
    def consume(self, queue: str, prefetch: int) -> None:
        if self.twins.is_over:
            return
        self.twins.consume(queue, prefetch)

    @precondition(lambda self: self.twins.dev.delivered and self.twins.dev.consuming is not None)
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), multiple=st.booleans())
    def settle_delivery(self, data: Any, verdict: str, multiple: bool) -> None:
        """The tag may be settled already; that closes the channel."""
        tag = data.draw(st.sampled_from([delivered[0] for delivered in self.twins.dev.delivered][-3:]))
        multiple = multiple and not verdict.startswith("reject")
        name = f"{verdict} delivery {tag} {multiple=}"
        self.do(name, lambda channel: settle(channel, tag, verdict, multiple), on_consumer=True)

    # What is done less often.

    @rule(data=st.data())
    def change(self, data: Any) -> None:
        draw = data.draw
        match draw(
            st.sampled_from(["queue", "exchange", "bind", "bind", "unbind", "bind exchange", "delete", "rest", "rest"])
        ):
            case "queue":
                durable, auto_delete = (
                    draw(st.sampled_from([True, True, False])),
                    draw(st.sampled_from([False, False, True])),
                )
                self.declare_queue(draw(drawing.queues), draw(drawing.queue_arguments), durable, auto_delete)
            case "exchange":
                alternate = draw(st.one_of(st.none(), drawing.exchanges))
                auto_delete = draw(st.sampled_from([False, False, True]))
                self.declare_exchange(draw(drawing.exchanges), draw(st.sampled_from(KINDS)), auto_delete, alternate)
            case "bind":
                self.bind(
                    draw(drawing.queues), draw(drawing.exchanges), draw(drawing.patterns), draw(drawing.bind_arguments)
                )
            case "unbind":
                self.unbind(
                    draw(drawing.queues), draw(drawing.exchanges), draw(drawing.patterns), draw(drawing.bind_arguments)
                )
            case "bind exchange":
                self.bind_exchange(draw(drawing.exchanges), draw(drawing.exchanges), draw(drawing.patterns))
            case "delete":
                self.delete(draw(st.sampled_from([*QUEUES, *EXCHANGES])), draw(st.booleans()), draw(st.booleans()))
            case _:
                self.rest(
                    draw(st.sampled_from(["recover", "purge", "unknown tag", "stop consuming"])), draw(drawing.queues)
                )

    def rest(self, what: str, queue: str) -> None:
        match what:
            case "recover":
                self.do("recover", lambda channel: bool(channel.basic_recover(requeue=True)))
                self.held.clear()
            case "purge":
                self.do(f"purge {queue}", lambda channel: channel.queue_purge(queue).method.message_count)
            case "unknown tag":
                self.do("ack 1000", lambda channel: settle(channel, 1000, "ack", False))
            case _ if not self.twins.is_over:
                self.twins.stop_consuming()

    def declare_queue(self, queue: str, arguments: dict[str, Any], durable: bool, auto_delete: bool) -> None:
        # For the same reason only one queue lets everything expire at once.
        if queue != QUEUES[0] and arguments.get("x-message-ttl") == 1:
            arguments = arguments | {"x-message-ttl": 3_600_000}
        # From 3.13 quorum queues count what surrounds a body too, in a size that only RabbitMQ knows.
        if self.twins.emulates != "3.10" and arguments.get("x-queue-type") == "quorum":
            arguments = {name: value for name, value in arguments.items() if name != "x-max-length-bytes"}

        def step(channel: Any) -> Any:
            method = channel.queue_declare(queue, durable=durable, auto_delete=auto_delete, arguments=arguments).method
            return (method.queue, method.message_count)

        self.do(f"declare queue {queue} {arguments} {durable=} {auto_delete=}", step)

    def declare_exchange(self, exchange: str, kind: str, auto_delete: bool, alternate: str | None) -> None:
        given = {"alternate-exchange": alternate} if alternate else {}
        self.do(
            f"declare exchange {exchange} {kind} {auto_delete=} {alternate=}",
            lambda channel: bool(channel.exchange_declare(exchange, kind, auto_delete=auto_delete, arguments=given)),
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
            side.clean([*QUEUES], [*EXCHANGES])


class Races:
    """Notes when copies of one message and a dead letter that they cause are under way at the same time.

    On RabbitMQ two queues then send to a third, and which one comes first is chance.
    """

    def __init__(self) -> None:
        self._copies = 0
        self._deaths = 0

    def watch(self, host: VirtualHost) -> None:
        publish, bury = host.publish, host._bury

        def counting_publish(message: Message, queues: tuple[Queue, ...]) -> bool:
            self._copies = max(self._copies, len(queues))
            return publish(message, queues)

        def counting_bury(queue: Queue, death: Death) -> bool:
            self._deaths += 1
            return bury(queue, death)

        host.publish, host._bury = counting_publish, counting_bury  # type: ignore[method-assign]  # watched, not changed

    def take(self) -> bool:
        """Whether there was one since the last time."""
        race = self._copies > 1 and self._deaths > 0
        self._copies = self._deaths = 0
        return race


def settle(channel: Any, tag: int, verdict: str, multiple: bool) -> str:
    if verdict == "ack":
        channel.basic_ack(tag, multiple)
    elif verdict.startswith("reject"):
        channel.basic_reject(tag, requeue=verdict != "reject")
    else:
        channel.basic_nack(tag, multiple, requeue=verdict == "requeue")
    # None of them is answered: ask for something else, so that an error is seen here.
    channel.exchange_declare("amq.direct", passive=True)
    return "settled"


@pytest.fixture
def twins(module_vhost: str) -> Iterator[Twins]:
    real = Side(module_vhost)
    emulate = ".".join(real.server_version.split(".")[:2])
    if emulate not in PROFILES:
        pytest.skip(f"the devbroker does not emulate RabbitMQ {real.server_version}")
    with Server(emulate=emulate) as server:
        races = Races()
        server.call(lambda broker: races.watch(broker.vhost()))
        pair = Twins(real, Side(server.url), QUEUES, emulate, is_race=races.take)
        yield pair
        pair.close()


@pytest.mark.timeout(0)
def test_random_scripts_give_the_same_on_rabbitmq_and_on_the_devbroker(twins: Twins) -> None:
    class BoundScript(Script):
        pass

    BoundScript.twins = twins
    run_state_machine_as_test(
        BoundScript,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_A_SCRIPT),
            stateful_step_count=STEPS_A_SCRIPT,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # What fails stands in the log in full; shrinking on a real broker takes too long.
            phases=[Phase.generate],
            database=None,
        ),
    )
    assert twins.steps >= STEPS // 4, "the scripts were shorter than they should be"
