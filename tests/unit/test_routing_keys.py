"""Topic patterns against an oracle of regular expressions, and whether sets of keys meet."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amqtask.core.keys import ANY, glob_keys, literal, meet, template_keys, topic_keys, topic_matches

WORDS = st.sampled_from(["a", "b", "hi", "", "a.b"])
KEYS = st.lists(WORDS, max_size=5).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "hi", "", "*", "#", "x*", "#b"]), max_size=5).map(".".join)


def oracle(pattern: str, key: str) -> bool:
    """The words of the key, each ended by a slash, against one expression."""
    parts = {"*": "[^/]*/", "#": "(?:[^/]*/)*"}
    expression = "".join(parts.get(word, re.escape(word) + "/") for word in (pattern.split(".") if pattern else []))
    words = "".join(f"{word}/" for word in (key.split(".") if key else []))
    return re.fullmatch(expression, words) is not None


@given(PATTERNS, KEYS)
@example("#.#", "")
@example("#.a.#", "b.a.b.a")
@example("*.#.*", "a")
@example("a.#.b.#.c", "a.b.x.b.c")
@example("#", "#")
@example("*", "*")
def test_a_topic_pattern_takes_the_keys_that_the_oracle_takes(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) == oracle(pattern, key)


@given(PATTERNS, KEYS)
@example("#", "")
@example("a.#", "a")
@example("#.a", "a")
@example("#.#.a", "a")
def test_the_sets_of_a_pattern_hold_exactly_the_keys_that_it_takes(pattern: str, key: str) -> None:
    is_in = any(meet(keys, literal(key)) for keys in topic_keys(pattern))

    # A set of texts cannot tell no word from one empty word: for the empty key it errs on the wide side.
    assert is_in == oracle(pattern, key) or (key == "" and is_in)


@given(PATTERNS, PATTERNS, st.lists(KEYS, max_size=20))
def test_sets_that_share_a_key_meet(first: str, second: str, keys: list[str]) -> None:
    shared = [key for key in keys if oracle(first, key) and oracle(second, key)]

    if shared:
        assert any(meet(one, other) for one in topic_keys(first) for other in topic_keys(second))


@given(PATTERNS, PATTERNS)
def test_meeting_does_not_depend_on_the_order(first: str, second: str) -> None:
    for one in topic_keys(first):
        for other in topic_keys(second):
            assert meet(one, other) == meet(other, one)


@pytest.mark.parametrize(
    ("pattern", "template", "tasks", "expected"),
    [
        ("hi.#", "hi.{task}", "mail.*", True),
        ("hi.*", "hi.{task}", "mail.*", False),
        ("hi.*.*", "hi.{task}", "mail.*", True),
        ("lo.#", "hi.{task}", "mail.*", False),
        ("report.pdf", "report.{kwargs.kind}", "report", True),
        ("#.pdf", "report.{kwargs.kind}", "report", True),
        ("mail.#", "{task}", "report.*", False),
        ("mail.#", "{task}", "*", True),
        ("mail.send", "{task}", "mail.?end", True),
        ("mail.send", "{task}", "mail.[st]end", True),
        ("a.b", "{args.0}.b", "x", True),
        ("a.b", "{args.0}.c", "x", False),
    ],
)
def test_a_template_may_make_a_key_that_a_pattern_takes(
    pattern: str, template: str, tasks: str, expected: bool
) -> None:
    keys = template_keys(template, glob_keys(tasks))

    assert any(meet(keys, taken) for taken in topic_keys(pattern)) is expected


@given(KEYS)
def test_any_key_is_in_the_set_of_all_keys(key: str) -> None:
    assert meet(ANY, literal(key))


@given(st.text(alphabet="ab.*#", max_size=8), st.text(alphabet="ab.", max_size=10))
def test_a_pattern_of_any_characters_agrees_with_the_oracle(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) == oracle(pattern, key)
