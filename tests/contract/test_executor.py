"""The executor port's laws, over every pool. Those of green threads run in processes of their own, patched first."""

import asyncio
import contextvars
import importlib.util
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from amqtask.errors import ConfigError, ExtraMissing
from amqtask.executors import load_executor
from amqtask.executors.base import Executor
from tests.support.eventually import eventually
from tests.support.executions import Act, Stage, ended, running

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
PATCHED = os.environ.get("AMQTASK_TEST_PATCHED")
POOLS = [PATCHED] if PATCHED else ["processes", "solo", "threads", "asyncio", "uvloop"]
SIDE_BY_SIDE = ("asyncio", "uvloop", "gevent", "eventlet")
"""Pools in which coroutines share one loop."""

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")


class Told(BaseException):
    """What the tests raise into executions."""


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return name


@pytest.fixture
def stage(pool: str) -> Iterator[Stage]:
    """A pool of three slots, or of the one that it has."""
    made = Stage(load_executor(pool)(3))
    yield made
    if not made.played:
        made.play(lambda: None)  # it has an event loop to close


def wait_for_ever() -> None:
    while True:
        time.sleep(0.01)


async def await_for_ever() -> None:
    await asyncio.Event().wait()


def test_plain_and_coroutine_functions_run_to_their_ends(stage: Stage) -> None:
    async def coroutine() -> str:
        await asyncio.sleep(0.01)
        return "awaited"

    def script() -> None:
        acts = [stage.act(lambda: "called"), stage.act(coroutine), stage.act(lambda: "called"), stage.act(coroutine)]
        ended(*acts)
        assert [act.value for act in acts] == ["called", "awaited", "called", "awaited"]

    stage.play(script)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_whatever_is_raised_the_pool_goes_on(stage: Stage, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    def script() -> None:
        bad = [stage.act(fail), stage.act(fail_later)]
        good = [stage.act(lambda: 1), stage.act(lambda: 2)]
        ended(*bad, *good)
        assert [type(act.error) for act in bad] == [error, error]
        assert [act.value for act in good] == [1, 2]

    stage.play(script)


def test_a_task_that_a_coroutine_left_behind_cannot_end_the_pool(stage: Stage) -> None:
    """asyncio lets SystemExit of any task end the loop: it took the whole process along."""

    async def leave() -> None:
        async def exit_soon() -> None:
            raise SystemExit(3)

        await asyncio.create_task(exit_soon())

    def script() -> None:
        left = stage.act(leave)
        after = stage.act(lambda: "on")
        ended(left, after)
        assert isinstance(left.error, SystemExit)
        assert after.value == "on"

    stage.play(script)


def test_submitting_does_not_wait_and_no_more_run_than_there_are_slots(stage: Stage) -> None:
    gate = threading.Event()
    capacity = stage.executor.capacity

    def script() -> None:
        acts = [stage.act(gate.wait) for _ in range(capacity + 5)]
        eventually(lambda: sum(act.interruptible for act in acts) == capacity)
        assert stage.executor.waiting() == 5
        assert [act.started for act in acts] == [1] * capacity + [0] * 5
        gate.set()
        ended(*acts)
        assert stage.executor.waiting() == 0

    stage.play(script)


def test_they_start_in_the_order_of_their_coming(stage: Stage) -> None:
    order = list[int]()
    gates = [threading.Event() for _ in range(stage.executor.capacity)]

    def script() -> None:
        blockers = [stage.act(gate.wait) for gate in gates]
        running(*blockers)
        acts = [stage.act(lambda number=number: order.append(number)) for number in range(50)]  # type: ignore[misc]
        gates[0].set()  # one slot runs them all
        ended(*acts)
        for gate in gates:
            gate.set()
        ended(*blockers)

    stage.play(script)

    assert order == list(range(50))


def test_ten_thousand_that_come_in_bursts_run_once_each(stage: Stage) -> None:
    counts = [0] * 10_000

    def count(number: int) -> None:
        counts[number] += 1

    def script() -> None:
        acts: list[Act] = []
        for number in range(10_000):
            acts.append(stage.act(lambda number=number: count(number)))  # type: ignore[misc]
            if number % 997 == 0:
                time.sleep(0.001)
        eventually(lambda: all(act.finished for act in acts), deadline=100)
        assert {act.started for act in acts} == {1}

    stage.play(script)

    assert set(counts) == {1}


def test_what_is_drained_never_runs(stage: Stage) -> None:
    gate = threading.Event()

    def script() -> None:
        blockers = [stage.act(gate.wait) for _ in range(stage.executor.capacity)]
        running(*blockers)
        unstarted = [stage.act(lambda: None) for _ in range(4)]
        assert stage.executor.drain() == unstarted
        assert stage.executor.drain() == []
        gate.set()
        after = stage.act(lambda: "still takes work")
        ended(*blockers, after)
        assert not any(act.started for act in unstarted)

    stage.play(script)


def test_stopping_starts_nothing_more_and_waits_for_what_runs(stage: Stage) -> None:
    gate = threading.Event()
    acts: list[Act] = []

    def script() -> None:
        acts.extend(stage.act(gate.wait) for _ in range(stage.executor.capacity + 1))
        running(*acts[:-1])
        stage.executor.stop()
        threading.Timer(0.2, gate.set).start()

    stage.play(script)

    assert [act.finished for act in acts] == [1] * (len(acts) - 1) + [0]
    assert stage.executor.drain() == acts[-1:]


def test_an_interrupt_is_raised_in_a_plain_function(stage: Stage) -> None:
    def script() -> None:
        act = stage.act(wait_for_ever)
        running(act)
        assert stage.executor.interrupt(act, Told)
        ended(act)
        assert isinstance(act.error, Told)
        assert act.interrupt is Told

    assert stage.executor.abilities.soft_limit
    stage.play(script)


def test_an_interrupt_cancels_a_coroutine(stage: Stage) -> None:
    def script() -> None:
        act = stage.act(await_for_ever)
        running(act)
        assert stage.executor.interrupt(act, Told)
        ended(act)
        assert isinstance(act.error, asyncio.CancelledError)
        assert act.interrupt is Told
        after = stage.act(await_for_ever)
        running(after)
        assert stage.executor.interrupt(after, Told)
        ended(after)

    stage.play(script)


def test_an_interrupt_may_come_while_the_loop_schedules_the_coroutine(stage: Stage, pool: str) -> None:
    """A signal that came then raised into asyncio's own code, and the task was never resumed."""
    if pool not in ("processes", "solo"):
        pytest.skip("only a signal comes then")
    scheduling, sent = threading.Event(), threading.Event()

    async def give_way() -> None:
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def slowly(*arguments: Any, **options: Any) -> asyncio.Handle:
            scheduling.set()
            sent.wait(30)
            return call_soon(*arguments, **options)

        loop.call_soon = slowly  # type: ignore[method-assign]  # to hold it there
        try:
            await asyncio.sleep(0)
            loop.call_soon = call_soon  # type: ignore[method-assign]
            await asyncio.Event().wait()
        finally:
            loop.call_soon = call_soon  # type: ignore[method-assign]

    def script() -> None:
        act = stage.act(give_way)
        scheduling.wait(30)
        assert stage.executor.interrupt(act, Told)
        sent.set()
        ended(act)
        assert isinstance(act.error, asyncio.CancelledError)

    stage.play(script)


def test_a_coroutine_that_blocks_is_interrupted_where_a_signal_can(stage: Stage, pool: str) -> None:
    if pool not in ("processes", "solo"):
        pytest.skip("only a signal reaches code that does not await")

    async def block() -> None:
        wait_for_ever()

    def script() -> None:
        act = stage.act(block)
        running(act)
        assert stage.executor.interrupt(act, Told)
        ended(act)
        assert isinstance(act.error, Told)

    stage.play(script)


def test_an_interrupted_function_may_go_on(stage: Stage) -> None:
    """As one that cleans up after its soft limit does."""

    def survive() -> str:
        try:
            wait_for_ever()
        except Told:
            time.sleep(0.05)
        return "cleaned"

    async def survive_too() -> str:
        try:
            await await_for_ever()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
        return "cleaned"

    def script() -> None:
        for work in (survive, survive_too):
            act = stage.act(work)
            running(act)
            assert stage.executor.interrupt(act, Told)
            ended(act)
            assert act.value == "cleaned"

    stage.play(script)


def test_what_does_not_run_cannot_be_interrupted(stage: Stage) -> None:
    gate = threading.Event()

    def script() -> None:
        blockers = [stage.act(gate.wait) for _ in range(stage.executor.capacity)]
        running(*blockers)
        waiting = stage.act(lambda: "unharmed")
        assert not stage.executor.interrupt(waiting, Told)
        gate.set()
        ended(waiting, *blockers)
        assert not stage.executor.interrupt(waiting, Told)
        assert waiting.value == "unharmed"

    stage.play(script)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_an_interrupt_that_comes_late_hits_nobody(stage: Stage) -> None:
    """Interrupts race with the end of what they are meant for; settling and the next execution must not get them."""
    chance = random.Random(7)

    def work() -> int:
        return sum(number for number in range(chance.randrange(300)))

    async def coroutine() -> int:
        await asyncio.sleep(0)
        return work()

    def script() -> None:
        acts = []
        for number in range(200):
            act = stage.act(coroutine if number % 4 == 0 else work)
            acts.append(act)
            # A few times each, not all the time: a storm of signals would leave the main thread no time to go on.
            for _ in range(4):
                stage.executor.interrupt(act, Told)
                time.sleep(chance.random() / 5000)
        ended(*acts)
        assert {act.started for act in acts} == {act.finished for act in acts} == {1}
        for act in acts:
            assert act.error is None or isinstance(act.error, (Told, asyncio.CancelledError))

    stage.play(script)


class SlyAct(Act):
    """Whoever looks from outside whether its code runs sees that it does, and then it ends at once."""

    def __init__(self, executor: Executor, started: threading.Event, end: threading.Event) -> None:
        self.owner = 0
        self.runs = False
        self.out = threading.Event()
        self.back = threading.Event()

        def work() -> str:
            self.owner = threading.get_ident()
            started.set()
            end.wait(30)
            return "done"

        self.end = end
        super().__init__(executor, work)

    @property  # type: ignore[override]
    def interruptible(self) -> bool:
        seen = self.runs
        if seen and threading.get_ident() != self.owner:
            self.end.set()
            self.out.wait(30)
        return seen

    @interruptible.setter
    def interruptible(self, value: bool) -> None:
        self.runs = value
        if self.owner and not value:
            self.out.set()

    def _settle(self) -> None:
        self.back.wait(30)  # the interrupt is on its way by now
        super()._settle()


def test_an_interrupt_that_is_raised_just_when_the_code_has_ended_is_caught(stage: Stage) -> None:
    """It surfaced while the outcome was settled, and the message was never acknowledged."""
    started, end = threading.Event(), threading.Event()

    def script() -> None:
        sly = SlyAct(stage.executor, started, end)
        stage.executor.submit(sly)
        started.wait(30)
        stage.executor.interrupt(sly, Told)
        end.set()
        sly.back.set()
        ended(sly, stage.act(lambda: "on"))
        assert sly.value == "done" or isinstance(sly.error, Told)

    stage.play(script)


def test_an_execution_sees_no_context_variable_of_another(stage: Stage) -> None:
    async def set_and_read() -> tuple[str, str]:
        before = variable.get()
        variable.set("dirty")
        await asyncio.sleep(0.01)
        return before, variable.get()

    def script() -> None:
        acts = [stage.act(set_and_read) for _ in range(8)]
        ended(*acts)
        assert [act.value for act in acts] == [("clean", "dirty")] * 8

    stage.play(script)


def test_slots_are_added_and_taken_away_while_it_runs(stage: Stage, pool: str) -> None:
    gates = [threading.Event() for _ in range(8)]
    if stage.executor.capacity == 1:
        with pytest.raises(ValueError, match="one slot"):
            stage.executor.resize(2)
        return

    def script() -> None:
        acts = [stage.act(gate.wait) for gate in gates]
        running(*acts[:3])
        stage.executor.resize(5)
        running(*acts[:5])
        stage.executor.resize(1)
        for gate in gates[:4]:
            gate.set()
        ended(*acts[:4])
        assert not any(act.started for act in acts[5:])
        gates[4].set()
        running(acts[5])
        assert not any(act.started for act in acts[6:])
        for gate in gates:
            gate.set()
        ended(*acts)

    stage.play(script)


def test_what_comes_after_the_end_is_not_run_and_harms_nobody(stage: Stage) -> None:
    calls = list[str]()

    stage.play(lambda: None)
    late = stage.act(lambda: None)
    stage.executor.call(lambda: calls.append("called"))

    assert stage.executor.drain() == [late]
    assert not late.started
    assert calls == []


def test_calls_are_made_on_the_thread_of_run(stage: Stage) -> None:
    threads = list[int]()

    def script() -> None:
        stage.executor.call(lambda: threads.append(threading.get_native_id()))
        eventually(lambda: threads)

    stage.play(script)

    assert threads == [threading.get_native_id()]


def test_coroutines_run_one_after_another_on_a_loop_of_their_slot_or_side_by_side(stage: Stage, pool: str) -> None:
    loops = set[int]()
    together = most = 0

    async def look() -> None:
        nonlocal together, most
        loops.add(id(asyncio.get_running_loop()))
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.02)
        together -= 1

    def script() -> None:
        ended(*[stage.act(look) for _ in range(12)])

    stage.play(script)

    if pool in SIDE_BY_SIDE:
        assert len(loops) == 1
        assert most == 3
    else:
        assert 1 <= len(loops) <= stage.executor.capacity


def test_a_plain_function_does_not_keep_coroutines_from_running(stage: Stage, pool: str) -> None:
    if pool not in SIDE_BY_SIDE:
        pytest.skip("one execution a slot")
    gate = threading.Event()

    async def quick() -> str:
        await asyncio.sleep(0)
        return "passed"

    def script() -> None:
        slow = stage.act(gate.wait)
        running(slow)
        ended(stage.act(quick))
        assert not slow.finished
        gate.set()
        ended(slow)

    stage.play(script)


def test_a_plain_function_may_run_an_event_loop_of_its_own(stage: Stage) -> None:
    async def look() -> str:
        await asyncio.sleep(0.02)
        asyncio.get_running_loop()
        return "ran"

    def script() -> None:
        acts = [stage.act(look), stage.act(lambda: asyncio.run(look())), stage.act(look)]
        ended(*acts)
        assert [act.value for act in acts] == ["ran"] * 3

    stage.play(script)


def test_a_pool_is_refused_by_name_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match="unknown pool 'fibers'"):
        load_executor("fibers")


@pytest.mark.parametrize("name", ["gevent", "eventlet", "uvloop"])
def test_a_pool_whose_package_is_missing_says_which_extra_brings_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ExtraMissing, match=rf"install amqtask\[{name}\]"):
        load_executor(name)


@pytest.mark.skipif(PATCHED is not None, reason="this is the patched process")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("library", sorted(PATCHES))
def test_the_laws_hold_in_a_patched_process(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "tests/contract/test_executor.py"]
    program = f"{PATCHES[library]}; import sys, pytest; sys.exit(pytest.main({arguments!r}))"

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env=os.environ | {"AMQTASK_TEST_PATCHED": library},
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def executor_methods() -> list[str]:
    return [name for name in vars(Executor) if not name.startswith("_") and callable(getattr(Executor, name))]


def test_the_port_has_twelve_methods_at_the_most() -> None:
    assert len(executor_methods()) <= 12
