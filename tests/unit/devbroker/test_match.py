import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.devbroker.match import DirectIndex, FanoutIndex, HeadersIndex, TopicIndex, headers_match, words
from amqtask.devbroker.tables import Table

word = st.sampled_from(["a", "b", "", "x-1", "*", "#"])
keys = st.lists(word, max_size=6).map(".".join)
patterns = st.lists(st.one_of(word, st.sampled_from(["*", "#"])), max_size=6).map(".".join)


def by_search(pattern: list[str], key: list[str]) -> bool:
    """The specification, word by word, without any cleverness."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return any(by_search(pattern[1:], key[n:]) for n in range(len(key) + 1))
    return bool(key) and pattern[0] in ("*", key[0]) and by_search(pattern[1:], key[1:])


@given(st.lists(patterns, max_size=6), keys)
def test_a_topic_index_agrees_with_the_specification(bound: list[str], key: str) -> None:
    index: TopicIndex[int] = TopicIndex()
    for number, pattern in enumerate(bound):
        index.add(number, pattern, {})

    assert set(index.match(key, {})) == {n for n, pattern in enumerate(bound) if by_search(words(pattern), words(key))}


@given(st.lists(patterns, max_size=6), st.data(), keys)
def test_a_binding_that_is_removed_matches_no_more(bound: list[str], data: st.DataObject, key: str) -> None:
    index: TopicIndex[int] = TopicIndex()
    for number, pattern in enumerate(bound):
        index.add(number, pattern, {})
    gone = data.draw(st.sets(st.sampled_from(range(len(bound)))) if bound else st.just(set()))
    for number in gone:
        index.remove(number, bound[number], {})

    expected = {n for n, pattern in enumerate(bound) if n not in gone and by_search(words(pattern), words(key))}
    assert set(index.match(key, {})) == expected


def test_many_hashes_in_a_pattern_do_not_take_for_ever() -> None:
    index: TopicIndex[int] = TopicIndex()
    index.add(1, ".".join(["#", "a"] * 30), {})

    assert not set(index.match(".".join(["a"] * 29 + ["b"]), {}))
    assert set(index.match(".".join(["a"] * 100), {})) == {1}


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("#", "", True),
        ("*", "", False),
        ("", "", True),
        ("", "a", False),
        ("a.*", "a.", True),
        ("a.#", "a", True),
        ("#.b", "0.1.0.a.b", True),
        ("*.*.b", "a.b", False),
        ("a.*.c", "a..c", True),
    ],
)
def test_words_of_a_topic(pattern: str, key: str, matches: bool) -> None:
    index: TopicIndex[int] = TopicIndex()
    index.add(1, pattern, {})

    assert bool(set(index.match(key, {}))) is matches


def test_a_destination_bound_twice_is_found_once_and_stays_until_the_second_is_removed() -> None:
    for index in (DirectIndex[str](), FanoutIndex[str](), TopicIndex[str]()):
        index.add("q", "k", {})
        index.add("q", "k", {"n": 1})
        assert list(index.match("k", {})) == ["q"]
        index.remove("q", "k", {})
        assert list(index.match("k", {})) == ["q"]
        index.remove("q", "k", {"n": 1})
        assert list(index.match("k", {})) == []


@pytest.mark.parametrize(
    ("arguments", "headers", "matches"),
    [
        ({}, {}, True),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": None}, {"a": "anything"}, True),
        ({"a": None}, {}, False),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": 2}, {"b": 2}, True),
        ({"x-match": "any", "a": 1}, {"b": 2}, False),
        ({"x-match": "all", "x-a": 1}, {}, True),
        ({"x-match": "all-with-x", "x-a": 1}, {}, False),
        ({"x-match": "any-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"a": [1, "b"]}, {"a": [1, b"b"]}, True),
    ],
)
def test_headers(arguments: Table, headers: Table, matches: bool) -> None:
    assert headers_match(arguments, headers) is matches
    index: HeadersIndex[str] = HeadersIndex()
    index.add("q", "", arguments)
    assert bool(list(index.match("ignored", headers))) is matches


def test_the_oracle_itself_says_what_the_documentation_says() -> None:
    lazy = re.compile(r"^(?:[^.]+\.)*orange\.[^.]+$")
    assert bool(lazy.match("quick.orange.fox")) is by_search(words("#.orange.*"), words("quick.orange.fox"))
