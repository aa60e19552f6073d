"""How many processes a node should have."""

from hypothesis import given
from hypothesis import strategies as st

from amqtask.worker.autoscale import KEEP_BUSY, KEEP_IDLE, Autoscaler


def test_it_grows_when_all_are_busy_and_work_waits() -> None:
    scaler = Autoscaler(1, 8)

    assert scaler.wanted(0.0, processes=2, busy=2, waiting=1) == 3
    assert scaler.wanted(0.0, processes=2, busy=2, waiting=100) == 4
    assert scaler.wanted(0.0, processes=8, busy=8, waiting=100) == 8


def test_it_does_not_grow_while_one_is_idle_or_nothing_waits() -> None:
    scaler = Autoscaler(1, 8)

    assert scaler.wanted(0.0, processes=2, busy=1, waiting=5) == 2
    assert scaler.wanted(0.0, processes=2, busy=2, waiting=0) == 2


def test_it_grows_when_all_are_busy_for_long_though_nothing_is_seen_to_wait() -> None:
    scaler = Autoscaler(1, 8)

    assert scaler.wanted(0.0, processes=2, busy=2, waiting=0) == 2
    assert scaler.wanted(KEEP_BUSY - 1, processes=2, busy=2, waiting=0) == 2
    assert scaler.wanted(KEEP_BUSY, processes=2, busy=2, waiting=0) == 3
    assert scaler.wanted(KEEP_BUSY + 1, processes=3, busy=3, waiting=0) == 3


def test_a_free_process_in_between_starts_the_busy_time_anew() -> None:
    scaler = Autoscaler(1, 8)
    scaler.wanted(0.0, processes=2, busy=2, waiting=0)
    scaler.wanted(KEEP_BUSY - 1, processes=2, busy=1, waiting=0)

    assert scaler.wanted(KEEP_BUSY, processes=2, busy=2, waiting=0) == 2


def test_it_shrinks_by_one_after_an_idle_time() -> None:
    scaler = Autoscaler(1, 8)

    assert scaler.wanted(0.0, processes=4, busy=0, waiting=0) == 4
    assert scaler.wanted(KEEP_IDLE - 1, processes=4, busy=0, waiting=0) == 4
    assert scaler.wanted(KEEP_IDLE, processes=4, busy=0, waiting=0) == 3
    assert scaler.wanted(KEEP_IDLE + 1, processes=3, busy=0, waiting=0) == 3


def test_being_busy_starts_the_idle_time_anew() -> None:
    scaler = Autoscaler(1, 8)
    scaler.wanted(0.0, processes=2, busy=0, waiting=0)
    scaler.wanted(KEEP_IDLE - 1, processes=2, busy=2, waiting=0)

    assert scaler.wanted(KEEP_IDLE + 1, processes=2, busy=0, waiting=0) == 2


@given(st.integers(1, 10), st.integers(0, 10), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 50))))
def test_it_stays_within_its_bounds(fewest: int, more: int, loads: list[tuple[int, int]]) -> None:
    scaler = Autoscaler(fewest, fewest + more)
    processes, now = fewest, 0.0
    for busy, waiting in loads:
        now += KEEP_IDLE
        processes = scaler.wanted(now, processes=processes, busy=min(busy, processes), waiting=waiting)
        assert fewest <= processes <= fewest + more
