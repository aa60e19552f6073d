"""Entries of the control log, and the ledger that folds them: the last one of each key counts. Pure.

An entry is for one node or for all. Positions say which one is later; an entry that was written anew, so that the log
could drop the old one, carries the position that it had first and never overrides what came in between.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from amqtask.core.standing import MOST_REVOKED, REVOKE_FOR, Order, is_revoke


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was set under a key, or taken away (`order` is None); `node` is whom alone it is for.

    `of` is the position that it had before it was written anew.
    """

    key: str
    order: Order | None
    node: str | None = None
    of: int | None = None

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        form: dict[str, object] = {
            "key": self.key,
            "order": None if self.order is None else self.order.to_json(),
            "node": self.node,
        }
        return form if self.of is None else {**form, "of": self.of}

    @classmethod
    def from_json(cls, form: Mapping[str, object]) -> "Entry":
        """From what `to_json` gave.

        Raises:
            ValueError: it is not that.
        """
        key, order, node, of = (form.get(name) for name in ("key", "order", "node", "of"))
        if not isinstance(key, str) or not isinstance(order, dict | None) or not isinstance(of, int | None):
            raise ValueError("not an entry: it has a key, an order and a node")  # noqa: TRY004 - it is data
        return cls(
            key=key,
            order=None if order is None else Order.from_json(order),
            node=None if node is None else str(node),
            of=of,
        )


class Line(NamedTuple):
    """An entry in the ledger: the position that counts, the one at which it stands, and what it says."""

    first: int
    position: int
    entry: Entry


class Ledger:
    """The entries that still say something, by key."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Line]] = {}
        self._overridden: list[int] = []

    def take(self, position: int, entry: Entry) -> None:
        """An entry that stands at this position of the log."""
        lines = self._lines.setdefault(entry.key, [])
        lines.append(Line(position if entry.of is None else entry.of, position, entry))
        lines.sort(key=lambda line: (line.first, line.position))
        said: list[Line] = []
        for line in reversed(lines):
            if any(later.entry.node in (None, line.entry.node) for later in said):
                self._overridden.append(line.position)
            else:
                said.insert(0, line)
        self._lines[entry.key] = said

    def changes(self, node: str) -> list[tuple[str, Order | None]]:
        """What holds for a node: keys and orders, in the order in which they are to be obeyed."""
        lines = _in_order(line for lines in self._lines.values() for line in lines)
        return [(line.entry.key, line.entry.order) for line in lines if line.entry.node in (None, node)]

    def kept(self, now: float) -> list[Line]:
        """The lines that a log needs, in their order: no revokes that are forgotten by `now`, nothing that takes away
        what is not there."""
        needed: list[Line] = []
        for lines in self._lines.values():
            fresh = [line for line in lines if not _is_old(line.entry.order, now)]
            needed += itertools.dropwhile(lambda line: line.entry.order is None, fresh)
        lines = _in_order(needed)
        revokes = [line for line in lines if line.entry.order is not None and is_revoke(line.entry.order)]
        too_many = {line.position for line in revokes[: max(0, len(revokes) - MOST_REVOKED)]}
        return [line for line in lines if line.position not in too_many]

    def useless(self, now: float) -> list[int]:
        """The positions of all other entries."""
        kept = {line.position for line in self.kept(now)}
        held = (line.position for lines in self._lines.values() for line in lines)
        return [*self._overridden, *(position for position in held if position not in kept)]


def _in_order(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.first, line.position))


def _is_old(order: Order | None, now: float) -> bool:
    return order is not None and is_revoke(order) and order.at + REVOKE_FOR < now
