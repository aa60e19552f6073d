"""Random scripts on RabbitMQ and on the devbroker.

AMQTASK_DIFFERENTIAL_STEPS sets how many steps are tried in all (10,000 takes an hour and a half); the default is a
taste.
"""

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from amqtask.devbroker.emulate import PROFILES
from amqtask.devbroker.server import Server
from tests.contract.devbroker.twins import Side, Twins, got

STEPS = int(os.environ.get("AMQTASK_DIFFERENTIAL_STEPS", "400"))
STEPS_A_SCRIPT = 40

PREFIX = f"diff.{uuid.uuid4().hex[:8]}."
QUEUES = [PREFIX + name for name in ("a", "b", "c", "d")]
EXCHANGES = [PREFIX + name for name in ("x", "y", "z")]

queues = st.sampled_from(QUEUES)
exchanges = st.sampled_from(EXCHANGES)
keys = st.sampled_from(["k", "a.b", "a.b.c", "", "a..b", *QUEUES])
patterns = st.sampled_from(["k", "#", "*", "a.*", "a.#", "*.b.#", "#.c", "a.#.b", "", *QUEUES])
match_headers = st.fixed_dictionaries({}, optional={"one": st.sampled_from([1, "1", True, None]), "two": st.just("2")})
bind_arguments = st.builds(
    lambda mode, headers: headers | mode, st.sampled_from([{}, {"x-match": "any"}, {"x-match": "all"}]), match_headers
)

limits: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"x-max-length": 2}, {"x-max-length-bytes": 8}, {"x-max-length": 0}, {"x-max-length": 1}]
)
classic_overflow = st.sampled_from(
    [{}, {"x-overflow": "reject-publish"}, {"x-overflow": "reject-publish-dlx"}, {"x-overflow": "drop-head"}]
)
ttls = st.sampled_from([{}, {}, {"x-message-ttl": 1}, {"x-message-ttl": 3_600_000}])
dead_letters = st.one_of(
    st.just({}),
    st.builds(lambda x: {"x-dead-letter-exchange": x}, st.sampled_from([*EXCHANGES, ""])),
    st.builds(
        lambda x, k: {"x-dead-letter-exchange": x, "x-dead-letter-routing-key": k},
        st.sampled_from([*EXCHANGES, ""]),
        keys,
    ),
)
priorities = st.sampled_from([{}, {}, {"x-max-priority": 3}])
classic = st.builds(
    lambda *parts: {k: v for part in parts for k, v in part.items()},
    limits,
    classic_overflow,
    ttls,
    dead_letters,
    priorities,
)
quorum = st.builds(
    lambda *parts: {k: v for part in parts for k, v in part.items()} | {"x-queue-type": "quorum"},
    limits,
    ttls,
    dead_letters,
    st.sampled_from([{}, {"x-delivery-limit": 2}]),
)
odd = st.sampled_from(
    [{"x-message-ttl": -1}, {"x-max-length": "1"}, {"x-overflow": "no"}, {"x-expires": 0}, {"x-queue-type": "no"}]
)
queue_arguments = st.one_of(classic, classic, quorum, odd)

headers = st.one_of(
    st.none(),
    match_headers,
    st.builds(lambda k: {"CC": k}, st.lists(keys, min_size=1, max_size=2)),
    st.builds(lambda k: {"BCC": k, "n": 1}, st.lists(keys, min_size=1, max_size=2)),
)
properties = st.builds(
    lambda **named: pika.BasicProperties(**{name: value for name, value in named.items() if value is not None}),
    headers=headers,
    expiration=st.sampled_from([None, None, None, "1", "3600000", "no", "-1", "0"]),
    priority=st.sampled_from([None, 0, 1, 2, 9]),
    delivery_mode=st.sampled_from([None, 1, 2]),
    user_id=st.sampled_from([None, None, None, None, "guest", "other"]),
    message_id=st.sampled_from([None, "m"]),
)


class Script(RuleBasedStateMachine):
    """One script; the twins compare after every step."""

    twins: Twins
    kinds: dict[str, str]

    @initialize(
        arguments=st.lists(st.one_of(classic, classic, quorum), min_size=3, max_size=3),
        kinds=st.lists(st.sampled_from(["direct", "fanout", "topic", "headers"]), min_size=2, max_size=2),
        bindings=st.lists(st.tuples(queues, exchanges, patterns, bind_arguments), max_size=5),
    )
    def start(self, arguments: list[dict[str, Any]], kinds: list[str], bindings: list[Any]) -> None:
        self.held: list[int] = []
        self.twins.log.clear()
        self.bodies = 0
        # Most scripts shall have something to work on; one queue and one exchange are left undeclared.
        for exchange, kind in zip(EXCHANGES, kinds, strict=False):
            self.declare_exchange(exchange, kind, False, None)
        for queue, given in zip(QUEUES, arguments, strict=False):
            self.declare_queue(queue, given, True, False)
        for queue, exchange, key, given in bindings:
            self.bind(queue, exchange, key, given)

    def do(self, name: str, step: Any, *, on_consumer: bool = False) -> Any:
        outcome = self.twins.both(name, step, on_consumer=on_consumer)
        if outcome[0] in ("channel closed", "connection closed"):
            self.held.clear()
        return outcome

    @rule(
        queue=queues,
        arguments=queue_arguments,
        durable=st.sampled_from([True, True, False]),
        auto_delete=st.sampled_from([False, False, True]),
    )
    def declare_queue(self, queue: str, arguments: dict[str, Any], durable: bool, auto_delete: bool) -> None:
        def step(channel: Any) -> Any:
            method = channel.queue_declare(queue, durable=durable, auto_delete=auto_delete, arguments=arguments).method
            return (method.queue, method.message_count, method.consumer_count)

        self.do(f"declare queue {queue} {arguments} durable={durable} auto_delete={auto_delete}", step)

    @rule(queue=queues, if_unused=st.booleans(), if_empty=st.booleans())
    def delete_queue(self, queue: str, if_unused: bool, if_empty: bool) -> None:
        self.do(
            f"delete queue {queue} {if_unused=} {if_empty=}",
            lambda channel: channel.queue_delete(queue, if_unused=if_unused, if_empty=if_empty).method.message_count,
        )

    @rule(queue=queues)
    def purge(self, queue: str) -> None:
        self.do(f"purge {queue}", lambda channel: channel.queue_purge(queue).method.message_count)

    @rule(exchange=exchanges, kind=st.sampled_from(["direct", "fanout", "topic", "headers"]), auto_delete=st.sampled_from([False, False, True]),
          alternate=st.one_of(st.none(), exchanges))  # fmt: skip
    def declare_exchange(self, exchange: str, kind: str, auto_delete: bool, alternate: str | None) -> None:
        arguments = {"alternate-exchange": alternate} if alternate else {}
        self.do(
            f"declare exchange {exchange} {kind} {auto_delete=} {alternate=}",
            lambda channel: bool(
                channel.exchange_declare(exchange, kind, auto_delete=auto_delete, arguments=arguments)
            ),
        )

    @rule(exchange=exchanges, if_unused=st.booleans())
    def delete_exchange(self, exchange: str, if_unused: bool) -> None:
        self.do(
            f"delete exchange {exchange} {if_unused=}",
            lambda channel: bool(channel.exchange_delete(exchange, if_unused)),
        )

    @rule(queue=queues, exchange=exchanges, key=patterns, arguments=bind_arguments)
    def bind(self, queue: str, exchange: str, key: str, arguments: dict[str, Any]) -> None:
        self.do(
            f"bind {queue} {exchange} {key} {arguments}",
            lambda channel: bool(channel.queue_bind(queue, exchange, key, arguments)),
        )

    @rule(queue=queues, exchange=exchanges, key=patterns, arguments=bind_arguments)
    def unbind(self, queue: str, exchange: str, key: str, arguments: dict[str, Any]) -> None:
        self.do(
            f"unbind {queue} {exchange} {key} {arguments}",
            lambda channel: bool(channel.queue_unbind(queue, exchange, key, arguments)),
        )

    @rule(destination=exchanges, source=exchanges, key=patterns)
    def bind_exchange(self, destination: str, source: str, key: str) -> None:
        self.do(
            f"bind exchange {destination} {source} {key}",
            lambda channel: bool(channel.exchange_bind(destination, source, key)),
        )

    @rule(exchange=st.one_of(exchanges, st.just("")), key=keys, named=properties, mandatory=st.booleans())
    def publish(self, exchange: str, key: str, named: pika.BasicProperties, mandatory: bool) -> None:
        self.bodies += 1
        body = f"{self.bodies}".encode()
        self.do(
            f"publish {body!r} to {exchange} {key} {named} {mandatory=}",
            lambda channel: channel.basic_publish(exchange, key, body, named, mandatory=mandatory),
        )

    @rule(queue=queues, no_ack=st.sampled_from([False, False, True]))
    def get(self, queue: str, no_ack: bool) -> None:
        outcome = self.do(f"get {queue} {no_ack=}", lambda channel: got(*channel.basic_get(queue, auto_ack=no_ack)))
        if outcome[0] == "ok" and outcome[1] is not None and not no_ack:
            self.held.append(outcome[1][0])

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        multiple=st.booleans(),
        verdict=st.sampled_from(["ack", "nack", "requeue", "reject", "reject requeue"]),
    )
    def settle(self, data: Any, multiple: bool, verdict: str) -> None:
        tag = data.draw(st.sampled_from(self.held))
        multiple = multiple and not verdict.startswith("reject")
        steps = {
            "ack": lambda channel: channel.basic_ack(tag, multiple),
            "nack": lambda channel: channel.basic_nack(tag, multiple, requeue=False),
            "requeue": lambda channel: channel.basic_nack(tag, multiple, requeue=True),
            "reject": lambda channel: channel.basic_reject(tag, requeue=False),
            "reject requeue": lambda channel: channel.basic_reject(tag, requeue=True),
        }
        self.held = (
            [held for held in self.held if held > tag] if multiple else [held for held in self.held if held != tag]
        )
        self.do(f"{verdict} {tag} {multiple=}", steps[verdict])

    @rule()
    def recover(self) -> None:
        self.do("recover", lambda channel: bool(channel.basic_recover(requeue=True)))
        self.held.clear()

    @rule(tag=st.integers(100, 101))
    def settle_nothing(self, tag: int) -> None:
        self.do(
            f"ack {tag}", lambda channel: (channel.basic_ack(tag), channel.queue_declare(QUEUES[0], passive=True))[0]
        )

    @rule(queue=queues, prefetch=st.integers(1, 3))
    def consume(self, queue: str, prefetch: int) -> None:
        self.twins.consume(queue, prefetch)

    @rule()
    def stop_consuming(self) -> None:
        self.twins.stop_consuming()

    @rule(data=st.data(), verdict=st.sampled_from(["ack", "nack", "requeue"]), multiple=st.booleans())
    def settle_delivery(self, data: Any, verdict: str, multiple: bool) -> None:
        tags = [delivered[0] for delivered in self.twins.dev.delivered]
        if not tags or self.twins.dev.consuming is None:
            return
        tag = data.draw(st.sampled_from(tags[-3:]))
        # The steps do not wait for an answer: a tag that is settled already closes the channel, a moment later.
        self.do(
            f"{verdict} delivery {tag} {multiple=}",
            lambda channel: _settle(channel, tag, verdict, multiple),
            on_consumer=True,
        )

    def teardown(self) -> None:
        self.twins.stop_consuming()
        for side in (self.twins.real, self.twins.dev):
            for queue in QUEUES:
                side.do(lambda channel, queue=queue: channel.queue_delete(queue))
            for exchange in EXCHANGES:
                side.do(lambda channel, exchange=exchange: channel.exchange_delete(exchange))
            side.start_again()


def _settle(channel: Any, tag: int, verdict: str, multiple: bool) -> str:
    if verdict == "ack":
        channel.basic_ack(tag, multiple)
    else:
        channel.basic_nack(tag, multiple, requeue=verdict == "requeue")
    channel.basic_qos(prefetch_count=2)
    return "settled"


@pytest.fixture
def twins(module_vhost: str) -> Iterator[Twins]:
    real = Side(module_vhost)
    emulate = ".".join(real.server_version.split(".")[:2])
    if emulate not in PROFILES:
        pytest.skip(f"the devbroker does not emulate RabbitMQ {real.server_version}")
    with Server(emulate=emulate) as server:
        pair = Twins(real, Side(server.url), QUEUES)
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
            phases=[Phase.generate, Phase.shrink],
            database=None,
        ),
    )
    print(f"{twins.steps} steps compared")
