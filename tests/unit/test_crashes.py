"""Deaths are counted once each, whichever nodes a message visits and however often they write what they know."""

from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.crashes import merged, read_tally, total
from amqtask.core.headers import CRASHED_ON

visits = st.lists(st.tuples(st.sampled_from(["a/1", "a/2", "b/1"]), st.booleans()), max_size=30)


@given(visits)
def test_every_death_counts_once_as_soon_as_its_node_sees_the_message_again(visits: list[tuple[str, bool]]) -> None:
    known: dict[str, int] = {}
    tally = read_tally({})
    for era, dies in visits:
        if dies:
            known[era] = known.get(era, 0) + 1
        tally = merged(tally, era, known.get(era, 0))
        assert total(tally) <= sum(known.values())
    for era, count in known.items():
        tally = merged(merged(tally, era, count), era, count)
    assert total(tally) == sum(known.values())


def test_what_is_no_count_does_not_count() -> None:
    assert read_tally({CRASHED_ON: {"a": 2, "b": "x", "c": True, "d": -1, "e": None}}) == {"a": 2}
    assert read_tally({CRASHED_ON: "2"}) == {}
