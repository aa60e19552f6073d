"""The order in which components start."""

import pytest

from amqtask.component import Component, in_order
from amqtask.errors import ConfigError


class Part(Component):
    def __init__(self, *requires: Component) -> None:
        self.requires: tuple[Component, ...] = requires


class Ring(Part):
    """A part of a ring of requirements."""


def test_components_start_in_the_order_in_which_they_were_added() -> None:
    parts = [Part() for _ in range(5)]

    assert in_order(parts) == parts


def test_what_is_required_starts_first_and_once_though_nobody_added_it() -> None:
    base = Part()
    left, right = Part(base), Part(base)
    top = Part(left, right)

    order = in_order([top, right])

    assert sorted(map(id, order)) == sorted(map(id, [base, left, right, top]))
    assert order.index(base) < order.index(left) < order.index(top)
    assert order.index(base) < order.index(right) < order.index(top)


def test_components_that_require_each_other_are_refused_by_name() -> None:
    first = Ring()
    first.requires = (Part(first),)

    with pytest.raises(ConfigError, match=r"components require each other: .*Ring"):
        in_order([first])
