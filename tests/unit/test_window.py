"""The window of unsettled deliveries: every tag is settled once, and never before it is done."""

from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.window import Window


def test_contiguous_finished_tags_are_acknowledged_with_one_multiple_ack() -> None:
    window = Window()
    for tag in (1, 2, 3):
        window.open(tag)
        window.ack(tag)
    assert list(window.flush()) == [(3, True)]
    assert len(window) == 0


def test_one_finished_tag_is_not_acknowledged_as_multiple() -> None:
    window = Window()
    window.open(7)
    window.ack(7)
    assert list(window.flush()) == [(7, False)]


def test_tags_behind_a_running_one_are_acknowledged_one_by_one() -> None:
    window = Window()
    for tag in (1, 2, 3):
        window.open(tag)
    window.ack(3)
    window.ack(2)
    assert list(window.flush()) == [(2, False), (3, False)]
    assert len(window) == 1
    window.ack(1)
    assert list(window.flush()) == [(1, False)]
    assert len(window) == 0


def test_a_rejected_tag_does_not_stop_the_run_of_acknowledged_ones() -> None:
    window = Window()
    for tag in (1, 2, 3):
        window.open(tag)
    window.ack(1)
    window.settle(2)
    window.ack(3)
    assert list(window.flush()) == [(3, True)]


def test_after_clear_nothing_is_left_to_acknowledge() -> None:
    window = Window()
    window.open(1)
    window.ack(1)
    window.clear()
    assert list(window.flush()) == []
    assert len(window) == 0


actions = st.lists(st.tuples(st.sampled_from(["open", "ack", "settle", "flush"]), st.integers(0, 30)), max_size=120)


@given(actions)
def test_whatever_the_order_each_tag_is_settled_once_and_never_before_it_is_done(
    script: list[tuple[str, int]],
) -> None:
    window = Window()
    opened: list[int] = []
    waiting: list[int] = []
    done: set[int] = set()
    rejected: set[int] = set()
    settled: set[int] = set()

    def flush() -> None:
        for tag, multiple in window.flush():
            covered = {other for other in opened if other <= tag} - settled - rejected if multiple else {tag}
            assert covered <= done, "only finished deliveries are acknowledged"
            assert not covered & settled, "none twice"
            settled.update(covered)

    for action, number in script:
        if action == "open":
            opened.append(len(opened) + 1)
            waiting.append(opened[-1])
            window.open(opened[-1])
        elif action == "flush":
            flush()
        elif waiting:
            tag = waiting.pop(number % len(waiting))
            if action == "ack":
                done.add(tag)
                window.ack(tag)
            else:
                rejected.add(tag)
                window.settle(tag)
    flush()
    assert settled == done
    assert len(window) == len(waiting)
