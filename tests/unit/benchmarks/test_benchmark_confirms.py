from hypothesis import given
from hypothesis import strategies as st

from benchmarks.confirms import Confirms


def confirms(sent: int) -> Confirms:
    made = Confirms()
    made.sent = sent
    return made


def test_what_is_confirmed_early_still_counts_when_a_multiple_passes_it():
    made = confirms(10)

    made.acknowledge(7, False)
    made.acknowledge(6, True)

    assert made.outstanding == 3


def test_a_multiple_covers_what_was_confirmed_before_it():
    made = confirms(10)

    made.acknowledge(2, False)
    made.acknowledge(5, True)
    made.acknowledge(3, True)

    assert made.outstanding == 5


@given(st.lists(st.tuples(st.integers(min_value=1, max_value=50), st.booleans())))
def test_outstanding_is_what_no_confirm_named(acknowledgements: list[tuple[int, bool]]):
    made, left = confirms(50), set(range(1, 51))

    for tag, multiple in acknowledgements:
        made.acknowledge(tag, multiple)
        left -= set(range(1, tag + 1)) if multiple else {tag}

    assert made.outstanding == len(left)
