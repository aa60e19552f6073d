"""The gate: rate-limited tasks wait in it for grants, and only so many of them."""

from types import SimpleNamespace
from typing import Any, cast

from amqtask.core.outcome import TooEarly
from amqtask.worker.execution import Execution
from amqtask.worker.gate import LONGEST_DELAY, Gate


class World:
    """What a gate talks to."""

    def __init__(self, window: int = 8) -> None:
        self.told: list[dict[str, Any]] = []
        self.submitted: list[Execution] = []
        self.delayed: list[float] = []
        self.gate = Gate(
            tell=self.told.append,
            submit=self.submitted.append,
            delay=self._delay,
            window=lambda queue: window,
            now=lambda: 1000.0,
        )

    def _delay(self, execution: Execution, outcome: TooEarly) -> None:
        self.delayed.append(outcome.eta.timestamp() - 1000.0)


def execution(task: str = "t", rate: str | None = "2/s") -> Execution:
    effective = SimpleNamespace(rate_limit=rate, rate_limit_scope="node")
    parts = {"request": SimpleNamespace(task=task), "effective": effective, "queue": "q"}
    return cast(Execution, SimpleNamespace(ended=False, **parts))


def test_what_has_no_limit_goes_through() -> None:
    world, free = World(), execution(rate=None)

    world.gate.enter(free)

    assert (world.submitted, world.told) == ([free], [])


def test_what_is_limited_waits_for_its_grant_in_its_order() -> None:
    world, first, second = World(), execution(), execution()
    world.gate.enter(first)
    world.gate.enter(second)
    assert world.submitted == []
    assert world.told == [{"is": "want", "task": "t", "rate": 2.0, "shared": False}] * 2

    world.gate.grant("t")

    assert (world.submitted, world.gate.waiting()) == ([first], [second])


def test_a_grant_that_nobody_can_use_is_given_back() -> None:
    world, revoked = World(), execution()
    world.gate.enter(revoked)
    revoked.ended = True

    world.gate.grant("t")

    assert world.submitted == []
    assert world.told[-1] == {"is": "unused", "task": "t"}


def test_what_is_over_half_of_the_window_goes_back_one_after_another() -> None:
    world = World(window=4)
    for _ in range(5):
        world.gate.enter(execution(rate="1/s"))

    assert len(world.gate.waiting()) == 2
    assert world.delayed == [3.0, 4.0, 5.0]


def test_nothing_goes_back_for_longer_than_it_takes_to_lift_a_limit() -> None:
    world = World(window=2)
    for _ in range(3):
        world.gate.enter(execution(rate="1/h"))

    assert world.delayed == [LONGEST_DELAY] * 2


def test_a_limit_that_is_lifted_lets_all_through() -> None:
    world, first, second = World(), execution(), execution()
    world.gate.enter(first)
    world.gate.enter(second)

    world.gate.limit("t", "0")

    assert world.submitted == [first, second]
    assert world.gate.waiting() == []


def test_an_order_beats_the_tasks_own_limit_until_it_is_forgotten() -> None:
    world, mine = World(), execution(rate=None)
    world.gate.limit("t", "10/m")
    world.gate.enter(mine)
    assert world.gate.waiting() == [mine]

    world.gate.forget("t")

    assert world.submitted == [mine]
