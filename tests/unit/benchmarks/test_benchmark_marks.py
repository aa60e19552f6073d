from hypothesis import given
from hypothesis import strategies as st

from benchmarks.marks import tally


def marks_of(count: int) -> bytes:
    return bytes(index & 255 for index in range(count))


@given(st.integers(min_value=0, max_value=2000), st.randoms())
def test_every_task_once_in_any_order_is_exact(count: int, random):
    marks = list(marks_of(count))
    random.shuffle(marks)

    assert tally(bytes(marks), count).is_exact


def test_a_lost_task_is_missing():
    found = tally(marks_of(1000)[:-1], 1000)

    assert not found.is_exact
    assert (found.seen, found.missing, found.repeated) == (999, 1, 0)


def test_a_task_that_ran_twice_is_repeated():
    found = tally(marks_of(1000) + b"\x07", 1000)

    assert (found.seen, found.missing, found.repeated) == (1001, 0, 1)


def test_one_lost_and_one_run_twice_do_not_cancel_out():
    marks = bytearray(marks_of(1000))
    marks[3] = 4

    found = tally(bytes(marks), 1000)

    assert (found.seen, found.missing, found.repeated) == (1000, 1, 1)
    assert str(found) == "1000 of 1000 tasks ran, 1 missing, 1 repeated"
