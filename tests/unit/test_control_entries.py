"""The ledger of the control log: the last entry of each key counts, also after the log was written anew."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.control.entries import Entry, Ledger
from amqtask.core.standing import MOST_REVOKED, REVOKE_FOR, Order

NODES = ("one", "two")


def entry(key: str, node: str | None = None, *, on: bool = True, at: float = 0.0, method: str = "pause") -> Entry:
    return Entry(key=key, order=Order(method, {"n": at}, at) if on else None, node=node)


entries = st.lists(
    st.builds(
        entry,
        st.sampled_from("abc"),
        st.sampled_from([None, *NODES]),
        on=st.booleans(),
        at=st.integers(0, 9).map(float),
    ),
    max_size=20,
)


def folded(log: list[tuple[int, Entry]]) -> Ledger:
    ledger = Ledger()
    for position, said in log:
        ledger.take(position, said)
    return ledger


def obeyed(ledger: Ledger, node: str) -> dict[str, Order]:
    """What holds for a node that obeys all changes in their order."""
    held: dict[str, Order] = {}
    for key, order in ledger.changes(node):
        held.pop(key, None)
        if order is not None:
            held[key] = order
    return held


def plainly(log: list[Entry], node: str) -> dict[str, Order]:
    held: dict[str, Order] = {}
    for said in log:
        if said.node in (None, node):
            held.pop(said.key, None)
            if said.order is not None:
                held[said.key] = said.order
    return held


@given(entries)
def test_the_ledger_says_what_all_entries_in_their_order_say(log: list[Entry]) -> None:
    ledger = folded(list(enumerate(log)))
    for node in NODES:
        assert obeyed(ledger, node) == plainly(log, node)


@given(entries)
def test_without_what_is_useless_the_log_says_the_same(log: list[Entry]) -> None:
    lines = list(enumerate(log))
    ledger = folded(lines)
    useless = ledger.useless(0.0)
    left = [line for line in lines if line[0] not in set(useless)]

    assert len(useless) == len(set(useless))
    assert len(left) <= 3 * 3  # keys, each for all and for either node
    for node in NODES:
        assert obeyed(folded(left), node) == plainly(log, node)


@given(entries, entries, entries, st.integers(0, 60))
def test_what_was_written_anew_overrides_nothing_that_came_in_between(
    before: list[Entry], meanwhile: list[Entry], after: list[Entry], lost: int
) -> None:
    anew = [replace(line.entry, of=line.first) for line in folded(list(enumerate(before))).kept(0.0)]
    lines = list(enumerate([*before, *meanwhile, *anew, *after]))
    wanted = [*before, *meanwhile, *after]
    for node in NODES:
        assert obeyed(folded(lines), node) == plainly(wanted, node)
        # What was there before may be dropped from the log's front.
        assert obeyed(folded(lines[min(lost, len(before)) :]), node) == plainly(wanted, node)


def test_old_revokes_and_those_that_are_too_many_are_useless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amqtask.control.entries.MOST_REVOKED", 2)
    said = [entry(f"revoke:{n}", method="revoke", at=float(n)) for n in range(4)]
    ledger = folded(list(enumerate([*said, entry("pause:q")])))

    assert [line.entry.key for line in ledger.kept(3.0)] == ["revoke:2", "revoke:3", "pause:q"]
    assert sorted(ledger.useless(3.0)) == [0, 1]
    assert [line.entry.key for line in ledger.kept(REVOKE_FOR + 2.5)] == ["revoke:3", "pause:q"]
    assert MOST_REVOKED > 2


@pytest.mark.parametrize(
    "form",
    [{}, {"key": 1, "order": None}, {"key": "a", "order": 3}, {"key": "a", "order": {}}, {"key": "a", "of": "x"}],
)
def test_what_is_no_entry_is_refused(form: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not an"):
        Entry.from_json(form)


def test_an_entry_survives_json() -> None:
    for said in (entry("a", "one", at=2.0), entry("b", on=False), replace(entry("c"), of=7)):
        assert Entry.from_json(said.to_json()) == said
