"""The governor of prefetch: deep windows of short tasks, none deeper than the slots of long ones."""

from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.prefetch import HORIZON, LARGEST, MOST, Governor

seconds = st.floats(0.0, 100.0)


def settled(governor: Governor, runtime: float) -> int:
    for _ in range(200):
        governor.ran("q", runtime)
    return governor.window("q")


def test_a_queue_of_which_nothing_is_known_starts_in_between() -> None:
    assert Governor(slots=3, start=4).window("q") == 12


def test_short_tasks_get_the_deepest_window() -> None:
    assert settled(Governor(slots=1), 0.00001) == LARGEST


def test_long_tasks_get_one_delivery_a_slot() -> None:
    assert settled(Governor(slots=8), 1.0) == 8


def test_a_stall_makes_the_window_as_small_as_the_slots_at_once() -> None:
    governor = Governor(slots=2)
    settled(governor, 0.001)
    assert governor.stalled("q")
    assert governor.window("q") == 2
    assert not governor.stalled("q")


def test_where_the_order_of_queues_matters_windows_are_neither_one_nor_deep() -> None:
    assert settled(Governor(slots=1, ordered=True), 0.00001) == 4
    assert settled(Governor(slots=1, ordered=True), 10.0) == 2


def test_queues_are_governed_apart() -> None:
    governor = Governor(slots=1)
    for _ in range(200):
        governor.ran("short", 0.0001)
        governor.ran("long", 5.0)
    assert (governor.window("short"), governor.window("long")) == (LARGEST, 1)


@given(runtime=seconds, slots=st.integers(1, 5000))
def test_what_waits_is_never_much_more_work_than_the_horizon(runtime: float, slots: int) -> None:
    window = settled(Governor(slots=slots), runtime)
    assert 1 <= window <= MOST
    waiting = max(0, window - slots) / slots
    # A step of the window doubles it, and it moves only when it is off by more than a step.
    assert waiting * runtime <= 4 * HORIZON + 2 * runtime * (waiting <= 1)


@given(st.lists(seconds, max_size=60))
def test_it_says_that_the_window_changed_exactly_when_it_did(runtimes: list[float]) -> None:
    governor = Governor(slots=1)
    for runtime in runtimes:
        before = governor.window("q")
        assert governor.ran("q", runtime) is (governor.window("q") != before)
