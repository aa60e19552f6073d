from hypothesis import given
from hypothesis import strategies as st

from amqtask.devbroker.confirms import Confirms


@given(st.lists(st.lists(st.sampled_from(["ok", "refused", "dropped"]), max_size=8), max_size=5))
def test_each_publish_is_told_once_what_became_of_it_however_they_are_bundled(batches: list[list[str]]) -> None:
    confirms = Confirms()
    decided: dict[int, bool] = {}
    told: dict[int, bool] = {}

    def tell(sequence: int, multiple: bool, ok: bool) -> None:
        first = max((number for number in told), default=0) + 1 if multiple else sequence
        for number in range(first, sequence + 1):
            assert told.setdefault(number, ok) is ok
        if multiple:
            # It speaks for every number up to it: none of them may be one that was dropped.
            assert set(range(1, sequence + 1)) <= set(told)

    for batch in batches:
        for verdict in batch:
            number = confirms.next()
            if verdict != "dropped":
                decided[number] = verdict == "ok"
                confirms.decide(number, ok=verdict == "ok")
        confirms.flush(tell)

    assert told == decided
