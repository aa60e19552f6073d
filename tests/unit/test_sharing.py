"""One rate limit for many nodes: what its keepers grant, whoever they are."""

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.ratelimit import CATCH_UP
from amqtask.core.sharing import FORGOTTEN, LISTENING, NEVER, REPEAT, SETTLED, Claim, Ledger


def claim(wanted: int, had: int = 0, *, rate: float = 10.0, ago: float | None = None) -> Claim:
    return Claim(rate=rate, wanted=wanted, had=had, ago=ago)


def granted(ledger: Ledger, now: float) -> list[str]:
    names = []
    while (name := ledger.take(now)) is not None:
        names.append(name)
    return names


def test_nodes_that_wait_are_granted_starts_in_turn_and_no_more_than_they_want() -> None:
    ledger = Ledger(0.0)
    ledger.hear("a", claim(1), 0.0)
    ledger.hear("b", claim(3), 0.0)

    names = [name for tick in range(1, 11) for name in granted(ledger, tick / 10)]

    assert names == ["a", "b", "b", "b"]
    assert ledger.due(1.0) == NEVER


def test_a_claim_that_is_said_again_asks_for_nothing_more() -> None:
    ledger = Ledger(0.0)
    ledger.hear("a", claim(1), 0.0)
    assert granted(ledger, 0.1) == ["a"]

    # It has not had the grant yet; then it has.
    ledger.hear("a", claim(1), 0.2)
    ledger.hear("a", claim(1, had=1), 0.3)

    assert granted(ledger, 1.0) == []


def test_a_node_that_says_nothing_any_more_gets_nothing() -> None:
    ledger = Ledger(0.0)
    ledger.hear("a", claim(100), 0.0)
    ledger.hear("b", claim(100), FORGOTTEN)

    assert set(granted(ledger, FORGOTTEN + 0.2)) == {"b"}


def test_what_did_not_reach_a_node_is_granted_to_another_at_once() -> None:
    ledger = Ledger(0.0)
    ledger.hear("dead", claim(1), 0.0)
    ledger.hear("b", claim(1), 0.0)
    assert granted(ledger, 0.1) == ["dead"]

    ledger.drop("dead", 1)

    assert granted(ledger, 0.1) == ["b"]


def test_a_grant_that_was_lost_under_way_is_granted_again() -> None:
    ledger = Ledger(0.0)
    ledger.hear("a", claim(1), 0.0)
    assert granted(ledger, 0.1) == ["a"]

    ledger.hear("a", claim(1, had=0), SETTLED + 0.2)

    assert granted(ledger, SETTLED + 0.2) == ["a"]


def test_a_new_keeper_of_a_fast_limit_lets_the_time_of_one_start_go_by() -> None:
    ledger = Ledger(100.0)
    ledger.hear("a", claim(10), 100.0)

    assert granted(ledger, 100.09) == []
    assert granted(ledger, 100.1) == ["a"]


def test_a_new_keeper_of_a_slow_limit_hears_when_the_last_start_was() -> None:
    rate = 1 / 3600
    ledger = Ledger(1000.0)
    ledger.hear("a", claim(1, rate=rate), 1000.1)
    ledger.hear("b", claim(8, had=7, rate=rate, ago=600.0), 1000.9)

    assert granted(ledger, 1000.0 + LISTENING) == []
    assert ledger.due(1001.0) == pytest.approx(1000.9 - 600 + 3600)


def test_the_first_keeper_of_a_slow_limit_does_not_keep_its_first_task_waiting() -> None:
    ledger = Ledger(0.0)
    ledger.hear("a", claim(1, rate=1 / 3600), 0.0)

    assert granted(ledger, LISTENING) == ["a"]


def test_a_claim_travels_as_json_and_what_is_none_is_refused() -> None:
    sent = claim(3, 1, ago=2.5)
    assert Claim.from_json(sent.to_json()) == sent
    for wrong in ({}, {"rate": 0, "wanted": 1, "had": 0}, {"rate": 1.0, "wanted": "1", "had": 0}):
        with pytest.raises(ValueError, match="no claim"):
            Claim.from_json(wrong)


@dataclass
class Cluster:
    """Nodes that always want more, and a keeper that may be replaced; claims and grants take a moment."""

    rate: float
    names: tuple[str, ...]
    chance: random.Random
    now: float = 0.0
    had: dict[str, int] = field(default_factory=dict)
    had_at: dict[str, float] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.elect()
        self.repeat_at = {name: self.chance.uniform(0, REPEAT) for name in self.names}

    def elect(self) -> None:
        self.ledger = Ledger(self.now)

    def run(self, seconds: float, step: float = 0.01) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += step * self.chance.uniform(0.5, 1.5)
            for name in self.names:
                if self.repeat_at[name] <= self.now:
                    self.repeat_at[name] = self.now + REPEAT
                    self.say(name)
            for name in granted(self.ledger, self.now):
                self.had[name] = self.had.get(name, 0) + 1
                self.had_at[name] = self.now
                self.starts.append(self.now)

    def say(self, name: str) -> None:
        had = self.had.get(name, 0)
        at = self.had_at.get(name)
        wanted = replace(claim(had + 1000, had, rate=self.rate), ago=None if at is None else self.now - at)
        self.ledger.hear(name, wanted, self.now)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.2, 50.0),
    st.integers(1, 5),
    st.lists(st.floats(0.05, 8.0), max_size=4),
    st.integers(0, 10**6).map(random.Random),
)
def test_never_more_starts_than_the_rate_whoever_keeps_it(
    rate: float, nodes: int, terms: list[float], chance: random.Random
) -> None:
    cluster = Cluster(rate, tuple("abcde"[:nodes]), chance)
    for term in terms:
        cluster.run(term)
        cluster.elect()
    cluster.run(3.0)

    starts = cluster.starts
    for first in range(len(starts)):
        for last in range(first, len(starts), 7):
            assert last - first <= (starts[last] - starts[first] + CATCH_UP) * rate + 1 + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.floats(1.0, 50.0), st.integers(1, 5), st.integers(0, 10**6).map(random.Random))
def test_within_five_percent_of_the_rate_while_work_waits(rate: float, nodes: int, chance: random.Random) -> None:
    cluster = Cluster(rate, tuple("abcde"[:nodes]), chance)
    cluster.run(60.0, step=0.02)

    assert len(cluster.starts) == pytest.approx(60 * rate, rel=0.05)
    # In turn: nobody has much more than another.
    assert max(cluster.had.values()) - min(cluster.had.get(name, 0) for name in cluster.names) <= REPEAT * rate + 1
