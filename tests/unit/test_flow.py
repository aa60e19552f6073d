"""When windows of deliveries are changed: seldom, and not for single late tasks."""

from dataclasses import dataclass, field
from typing import Any, cast

from amqtask.core.prefetch import LARGEST, Governor
from amqtask.executors.base import Executor
from amqtask.session import NEVER, Session
from amqtask.worker.consumer import Consumer, Subscription
from amqtask.worker.flow import GROW_EVERY, LOOK_AGAIN, SHRINK_AFTER, Flow, FlowOptions

SHORT, LONG = 0.0001, 0.5


@dataclass
class World:
    """A node of one slot: its clock, its consumer and its session, as far as flow sees them."""

    now: float = 0.0
    unsettled: int = 0
    paused: bool = False
    queues: dict[str, Subscription] = field(default_factory=lambda: {"q": Subscription(queue="q", prefetch=4)})
    changes: list[int] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def wake(self) -> None:
        """The session takes its turn when the test says so."""

    def waiting(self) -> int:
        return 0

    def resize(self, queue: str, prefetch: int) -> None:
        self.queues[queue] = Subscription(queue=queue, prefetch=prefetch)
        self.changes.append(prefetch)


def flow(world: World) -> Flow:
    made = Flow(
        FlowOptions(),
        governor=Governor(slots=1),
        executor=cast(Executor, world),
        clock=cast(Any, world),
        hand_back=lambda execution: None,
        submit=lambda execution: None,
    )
    made.attach(cast(Consumer, world), cast(Session, world))
    return made


def ran(made: Flow, seconds: float, times: int = 1) -> None:
    for _ in range(times):
        made.ended("q", seconds)


def test_the_first_short_tasks_deepen_the_window_at_once() -> None:
    world = World()
    made = flow(world)
    ran(made, SHORT, 100)

    assert made.turn(0.0) == NEVER
    assert world.changes == [LARGEST]


def test_one_long_task_among_short_ones_changes_nothing() -> None:
    world = World()
    made = flow(world)
    ran(made, SHORT, 100)
    made.turn(0.0)

    world.now = 1.0
    ran(made, LONG)
    assert made.turn(1.0) == 1.0 + SHRINK_AFTER
    ran(made, SHORT, 200)

    assert made.turn(1.0 + SHRINK_AFTER) == NEVER
    assert world.changes == [LARGEST]


def test_tasks_that_stay_long_make_the_window_small_soon() -> None:
    world = World()
    made = flow(world)
    ran(made, SHORT, 100)
    made.turn(0.0)

    world.now = 1.0
    ran(made, LONG, 30)
    made.turn(1.0)
    made.turn(1.0 + SHRINK_AFTER)

    assert world.changes == [LARGEST, 1]


def test_a_window_grows_again_only_after_a_while_and_when_the_one_before_is_done() -> None:
    world = World()
    made = flow(world)
    ran(made, LONG, 30)
    made.turn(0.0)
    assert made.turn(SHRINK_AFTER) == NEVER
    assert world.changes == [1]

    ran(made, SHORT, 300)
    assert made.turn(0.5) == SHRINK_AFTER + GROW_EVERY
    world.unsettled = 4
    assert made.turn(2.0) == 2.0 + LOOK_AGAIN
    world.unsettled = 1
    made.turn(2.1)

    assert world.changes == [1, LARGEST]


def test_a_queue_that_is_consumed_no_more_is_forgotten() -> None:
    world = World()
    made = flow(world)
    ran(made, SHORT, 100)
    world.queues.clear()

    assert made.turn(0.0) == NEVER
    assert world.changes == []
