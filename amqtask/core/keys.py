"""Routing keys: which of them a topic pattern takes, and whether two sets of them meet.

RabbitMQ's words: a key is split at its dots, the empty key has no words; `*` takes one word, which may be empty, `#`
any number of them (`rabbit_exchange_type_topic.erl`).
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

MAX_KEY_BYTES = 255
"""A routing key is a short string (AMQP 0-9-1 §4.2.5.3)."""


class Wild(Enum):
    """A part of a set of keys that is not one fixed character."""

    WORD = "any characters but dots"
    TEXT = "any characters"


Keys: TypeAlias = tuple[str | Wild, ...]
"""A set of keys: fixed characters and wild parts in their order."""

ANY: Keys = (Wild.TEXT,)

KEY_FIELD = re.compile(r"\{(?:(?P<task>task)|kwargs\.(?P<keyword>[^{}]+)|args\.(?P<index>\d+))\}")
"""A field of a route's key: `{task}`, `{kwargs.name}` or `{args.0}`."""


def words(key: str) -> list[str]:
    """The words of a key or a pattern."""
    return key.split(".") if key else []


def topic_matches(pattern: str, key: str) -> bool:
    """Whether a topic exchange takes a key for a binding with this pattern."""
    if pattern in ("#", key) and "*" not in pattern:
        return True
    wanted, given = words(pattern), words(key)
    position = index = 0
    retry: tuple[int, int] | None = None
    while index < len(given):
        word = wanted[position] if position < len(wanted) else None
        if word == "#":
            # As few words as possible for now; `retry` is where to go on with one more.
            position += 1
            retry = (position, index)
        elif word is not None and word in ("*", given[index]):
            position, index = position + 1, index + 1
        elif retry is not None:
            position, index = retry[0], retry[1] + 1
            retry = (position, index)
        else:
            return False
    return all(word == "#" for word in wanted[position:])


def literal(key: str) -> Keys:
    """The set with this one key."""
    return tuple(key)


def topic_keys(pattern: str) -> Iterator[Keys]:
    """The sets of keys that a topic pattern takes. Their union is exact; only the empty key may be in it too much."""
    yield from (_joined(choice) for choice in _without_hashes(words(pattern)))


def template_keys(template: str, task: Keys) -> Keys:
    """The keys that a route's template can make for tasks of these names."""
    keys: list[str | Wild] = []
    end = 0
    for match in KEY_FIELD.finditer(template):
        keys += template[end : match.start()]
        keys += task if match["task"] else ANY
        end = match.end()
    keys += template[end:]
    return tuple(keys)


def glob_keys(pattern: str) -> Keys:
    """The names that a shell pattern takes, taken a little wide: `?` and `[abc]` stand for any text."""
    keys: list[str | Wild] = []
    for part in re.split(r"(\*|\?|\[[^\]]*\])", pattern):
        keys += ANY if part[:1] in ("*", "?", "[") and part else part
    return tuple(keys)


def meet(first: Keys, second: Keys) -> bool:
    """Whether a key exists that is in both sets."""
    seen: set[tuple[int, int]] = set()
    waiting = [(0, 0)]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        i, j = state
        if i == len(first) and j == len(second):
            return True
        one = first[i] if i < len(first) else None
        other = second[j] if j < len(second) else None
        if isinstance(one, Wild):
            waiting.append((i + 1, j))
        if isinstance(other, Wild):
            waiting.append((i, j + 1))
        if isinstance(one, str) and isinstance(other, str):
            if one == other:
                waiting.append((i + 1, j + 1))
        elif isinstance(one, Wild) and isinstance(other, str):
            if one is Wild.TEXT or other != ".":
                waiting.append((i, j + 1))
        elif isinstance(one, str) and isinstance(other, Wild) and (other is Wild.TEXT or one != "."):
            waiting.append((i + 1, j))
    return False


def _joined(choice: list[str | Wild]) -> Keys:
    """Words and wild words with the dots between them."""
    keys: list[str | Wild] = []
    for index, word in enumerate(choice):
        if index:
            keys.append(".")
        keys += [word] if isinstance(word, Wild) else word
    return tuple(keys)


def _without_hashes(pattern: list[str]) -> Iterator[list[str | Wild]]:
    """`#` is no word at all, or any text as one or more words; neighbours of it are one."""
    for index, word in enumerate(pattern):
        if word == "#":
            head: list[str | Wild] = [Wild.WORD if before == "*" else before for before in pattern[:index]]
            rest = pattern[index + 1 :]
            while rest[:1] == ["#"]:
                rest = rest[1:]
            for tail in _without_hashes(rest):
                yield head + tail
                yield [*head, Wild.TEXT, *tail]
            return
    yield [Wild.WORD if word == "*" else word for word in pattern]
