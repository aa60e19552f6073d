"""Counting the processes that died while they executed a message, on any node.

A node knows of the deaths of its own processes only. When such a message comes to it again, it writes what it knows
into a header, by its own era: a table of counts, of which each writer owns one and which only grow. So the sum is
right whichever nodes a message visits, and writing the same thing twice changes nothing.
"""

from collections.abc import Mapping
from typing import TypeAlias

from amqtask.core.headers import CRASHED_ON
from amqtask.core.message import Headers

Tally: TypeAlias = Mapping[str, int]
"""Deaths by era: a node's name and when it started."""


def read_tally(headers: Headers) -> Tally:
    """What a message's headers say; what is no count there does not count."""
    found = headers.get(CRASHED_ON)
    if not isinstance(found, dict):
        return {}
    return {era: count for era, count in found.items() if type(count) is int and count > 0}


def merged(tally: Tally, era: str, count: int) -> Tally:
    """The tally with what is known in this era."""
    return {**tally, era: max(tally.get(era, 0), count)} if count else tally


def total(tally: Tally) -> int:
    """How many deaths that are."""
    return sum(tally.values())
