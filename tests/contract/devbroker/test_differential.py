"""Random scripts on RabbitMQ and on the devbroker.

AMQTASK_DIFFERENTIAL_STEPS says how many steps are compared in all, AMQTASK_DIFFERENTIAL_SEED which ones. The defaults
are a taste, the same one each time; 10,000 steps take half an hour. AMQTASK_BROKER_URL names another RabbitMQ.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from amqtask.devbroker.emulate import PROFILES
from amqtask.devbroker.message import Message
from amqtask.devbroker.queue import Death, Queue
from amqtask.devbroker.server import Server
from amqtask.devbroker.vhost import VirtualHost
from tests.contract.devbroker.drawing import EVERY_QUEUE
from tests.contract.devbroker.script import Script
from tests.contract.devbroker.twins import Side, Twins
from tests.support.broker import Broker

pytestmark = pytest.mark.matrix

STEPS = int(os.environ.get("AMQTASK_DIFFERENTIAL_STEPS", "400"))
SEED = int(os.environ.get("AMQTASK_DIFFERENTIAL_SEED", "1"))
STEPS_A_SCRIPT = 40


class Races:
    """Notes when copies of one message, or several messages, and a dead letter that they cause are under way together.

    On RabbitMQ two queues then send to a third, and which one comes first is chance.
    """

    def __init__(self) -> None:
        self._copies = 0
        self._messages = 0
        self._deaths = 0

    def watch(self, host: VirtualHost) -> None:
        publish, bury = host.publish, host._bury

        def counting_publish(message: Message, queues: tuple[Queue, ...]) -> bool:
            self._copies = max(self._copies, len(queues))
            self._messages += 1
            return publish(message, queues)

        def counting_bury(queue: Queue, death: Death) -> bool:
            self._deaths += 1
            self._messages -= 1
            return bury(queue, death)

        host.publish, host._bury = counting_publish, counting_bury  # type: ignore[method-assign]  # watched, not changed

    def take(self) -> bool:
        """Whether there was one since the last time."""
        race = (self._copies > 1 or self._messages > 1) and self._deaths > 0
        self._copies = self._messages = self._deaths = 0
        return race


@pytest.fixture
def twins(rabbitmq: Broker) -> Iterator[Twins]:
    real = Side(rabbitmq.vhost())
    emulate = ".".join(real.server_version.split(".")[:2])
    if emulate not in PROFILES:
        pytest.skip(f"the devbroker does not emulate RabbitMQ {real.server_version}")
    with Server(emulate=emulate) as server:
        races = Races()
        server.call(lambda broker: races.watch(broker.vhost()))
        pair = Twins(real, Side(server.url), EVERY_QUEUE, emulate, is_race=races.take)
        yield pair
        pair.close()


@pytest.mark.timeout(0)
def test_random_scripts_give_the_same_on_rabbitmq_and_on_the_devbroker(twins: Twins) -> None:
    @seed(SEED)
    class BoundScript(Script):
        pass

    BoundScript.twins = twins
    try:
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
    except Exception as error:
        if twins.difference:
            raise AssertionError(f"seed {SEED}, step {twins.steps}: {twins.difference}") from error
        raise
    assert twins.steps >= STEPS // 4, "the scripts were shorter than they should be"
