from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.ready import Ready, ReturnsFirst, TwoLevels

steps = st.lists(
    st.one_of(st.tuples(st.just("new"), st.integers(0, 3)), st.tuples(st.sampled_from(["take", "back"]), st.just(0))),
    max_size=60,
)


def entries() -> Iterator[Entry]:
    number = 0
    while True:
        number += 1
        yield Entry(Message.of("", "q", b"x" * number), number, None)


@given(steps)
def test_the_highest_level_leaves_first_and_each_by_its_number_however_often_it_was_given_back(
    drawn: list[tuple[str, int]],
) -> None:
    ready, fresh = Ready(), entries()
    levels: dict[int, int] = {}
    inside: list[Entry] = []
    held: list[Entry] = []
    for step, level in drawn:
        if step == "new":
            entry = next(fresh)
            levels[entry.sequence] = level
            ready.append(entry, level)
            inside.append(entry)
        elif step == "take" and inside:
            expected = min(inside, key=lambda entry: (-levels[entry.sequence], entry.sequence))
            assert ready.peek() is expected
            assert ready.pop() is expected
            inside.remove(expected)
            held.append(expected)
        elif step == "back" and held:
            entry = held.pop(0)
            ready.restore(entry, levels[entry.sequence])
            inside.append(entry)
        assert len(ready) == len(inside)
        assert ready.bytes == sum(entry.message.size for entry in inside)
        assert list(ready) == sorted(inside, key=lambda entry: (-levels[entry.sequence], entry.sequence))


def test_what_is_given_back_to_a_quorum_queue_leaves_in_the_order_in_which_it_came_back() -> None:
    ready, fresh = ReturnsFirst(), entries()
    one, two, three = (next(fresh) for _ in range(3))
    ready.append(three, 9)
    ready.give_back(two)
    ready.give_back(one)

    assert list(ready) == [two, one, three]
    assert [ready.pop() for _ in range(3)] == [two, one, three]
    assert (len(ready), ready.bytes) == (0, 0)


def test_the_turn_of_the_normal_level_counts_what_left_while_it_was_alone() -> None:
    ready, fresh = TwoLevels(), entries()
    alone, normal, high = (next(fresh) for _ in range(3))
    for entry in (alone, next(fresh)):
        ready.append(entry, TwoLevels.NORMAL)
        ready.pop()
    ready.append(normal, TwoLevels.NORMAL)
    ready.append(high, TwoLevels.HIGH)

    assert [ready.pop(), ready.pop()] == [normal, high]


def test_emptied_means_empty() -> None:
    ready, fresh = ReturnsFirst(), entries()
    ready.append(next(fresh), 2)
    ready.give_back(next(fresh))

    assert len(ready.clear()) == 2
    assert (len(ready), ready.bytes, list(ready)) == (0, 0, [])
