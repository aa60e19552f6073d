"""Stamps: headers of the sender's own on every task of a canvas, chosen by a visitor that walks through it.

The visitor's methods have the names of Celery's (`celery/canvas.py`). Each returns stamps by name, or nothing; those of
a chain, group or chord are for all of its tasks. A key `stamped_headers` among them, a list, says which of the others
are stamps; without it all are.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from amqtask.core.canvas import CHAIN, CHORD, GROUP, body_of, parts
from amqtask.core.signature import Signature

NAMES = "stamped_headers"

Stamps: TypeAlias = Mapping[str, object]


class StampingVisitor:
    """Says which stamps the tasks of a canvas get: none, where a method is not overridden.

    `headers` are those that a task has from around it.
    """

    def on_signature(self, sig: Signature, /, **headers: object) -> Stamps | None:
        """A call of a task."""

    def on_chain_start(self, chain: Signature, /, **headers: object) -> Stamps | None:
        """Before the steps of a chain."""

    def on_chain_end(self, chain: Signature, /, **headers: object) -> None:
        """After the steps of a chain."""

    def on_group_start(self, group: Signature, /, **headers: object) -> Stamps | None:
        """Before the members of a group."""

    def on_group_end(self, group: Signature, /, **headers: object) -> None:
        """After the members of a group."""

    def on_chord_header_start(self, chord: Signature, /, **headers: object) -> Stamps | None:
        """Before the members of a chord."""

    def on_chord_header_end(self, chord: Signature, /, **headers: object) -> None:
        """After the members of a chord."""

    def on_chord_body(self, chord: Signature, /, **headers: object) -> Stamps | None:
        """Before the body of a chord."""

    def on_callback(self, callback: Signature, /, **headers: object) -> Stamps | None:
        """Before what is called with a result."""

    def on_errback(self, errback: Signature, /, **headers: object) -> Stamps | None:
        """Before what is called when something fails."""


def stamped(canvas: Signature, visitor: StampingVisitor | None, stamps: Stamps, *, append: bool) -> Signature:
    """The canvas with stamps on each of its tasks, its callbacks and errbacks.

    Of two stamps of one name the later counts; with `append` both do.
    """
    return _Walk(visitor or StampingVisitor(), append).stamp(canvas, _chosen(stamps))


class _Walk:
    def __init__(self, visitor: StampingVisitor, append: bool) -> None:
        self._visitor = visitor
        self._append = append

    def stamp(self, canvas: Signature, around: Stamps) -> Signature:
        visitor, linked = self._visitor, self._linked(canvas, around)
        if canvas.task == CHAIN:
            within = self._merged(around, visitor.on_chain_start(canvas, **around))
            done = self._with_parts(linked, "tasks", within)
            visitor.on_chain_end(done, **within)
        elif canvas.task == GROUP:
            within = self._merged(around, visitor.on_group_start(canvas, **around))
            done = self._with_parts(linked, "tasks", within)
            visitor.on_group_end(done, **within)
        elif canvas.task == CHORD:
            within = self._merged(around, visitor.on_chord_header_start(canvas, **around))
            done = self._with_parts(linked, "header", within)
            visitor.on_chord_header_end(done, **within)
            within = self._merged(around, visitor.on_chord_body(canvas, **around))
            done = replace(done, kwargs={**done.kwargs, "body": self.stamp(body_of(canvas), within)})
        else:
            done = self._call(linked, self._merged(around, visitor.on_signature(canvas, **around)))
        return done

    def _with_parts(self, canvas: Signature, name: str, stamps: Stamps) -> Signature:
        return replace(
            canvas, kwargs={**canvas.kwargs, name: tuple(self.stamp(part, stamps) for part in parts(canvas))}
        )

    def _linked(self, canvas: Signature, around: Stamps) -> Signature:
        visitor, options = self._visitor, dict(canvas.options)
        if canvas.callbacks:
            options["link"] = [
                self.stamp(one, self._merged(around, visitor.on_callback(one, **around))) for one in canvas.callbacks
            ]
        if canvas.errbacks:
            options["link_error"] = [
                self.stamp(one, self._merged(around, visitor.on_errback(one, **around))) for one in canvas.errbacks
            ]
        return replace(canvas, options=options)

    def _call(self, call: Signature, stamps: Stamps) -> Signature:
        if not stamps:
            return call
        names = call.options.get(NAMES)
        before = {str(name): call.options.get(str(name)) for name in names} if isinstance(names, list | tuple) else {}
        merged = self._merged(before, stamps)
        return replace(call, options={**call.options, **merged, NAMES: [*merged]})

    def _merged(self, first: Stamps, then: Stamps | None) -> Stamps:
        later = _chosen(then or {})
        if not self._append:
            return {**first, **later}
        both = {name: [*_listed(first[name]), *_listed(later[name])] for name in later if name in first}
        return {**first, **later, **both}


def _chosen(stamps: Stamps) -> Stamps:
    names = stamps.get(NAMES)
    chosen = names if isinstance(names, list | tuple | set | frozenset) else stamps
    return {name: value for name, value in stamps.items() if name in chosen and name != NAMES}


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
