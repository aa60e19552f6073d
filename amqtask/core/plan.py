"""Plan: what a frozen canvas sends first. What comes later travels in the messages, or waits where a chord is joined.

A chord's members carry only a reference to it: who is last finds its body in the queue `aqt.chord.<group>`, to which
the sender of the chord wrote it before the first member was sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from amqtask.core.canvas import CHAIN, CHORD, GROUP, body_of, chord_of, gathered, parts, signature_of
from amqtask.core.signature import Signature

JOIN = "join"
"""The member of a chord's form in a message that names the queue where it is joined."""

REST = "amqtask.rest"
"""The task's name in a reference to the rest of a long chain (`amqtask.core.rest`)."""

JsonForms: TypeAlias = tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One task to send; its options hold where it belongs and what follows it."""

    signature: Signature


@dataclass(frozen=True, slots=True)
class Join:
    """A chord to open before its members are sent."""

    group_id: str
    size: int
    body: Signature


Step: TypeAlias = Call | Join


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Whose descendants are sent: the workflow's root, and what they follow."""

    root_id: str | None = None
    parent_id: str | None = None


def plan(frozen: Signature, args: Sequence[object] = (), family: Family = Family()) -> Iterator[Step]:
    """What is to be sent for a frozen canvas that is called with `args`, in this order."""
    if frozen.task == CHAIN:
        first, *rest = parts(frozen)
        later = tuple(step.to_json() for step in reversed(rest))
        yield from plan(followed_by(followed_by(first, later), chain_in(frozen)), args, family)
    elif frozen.task == GROUP:
        chain = chain_in(frozen)
        if chain:
            # Nobody upgraded it: a client that sends such a chain leaves that to the worker.
            chord = chord_of(parts(frozen), followed_by(signature_of(chain[-1]), chain[:-1]))
            chord = replace(chord, options={"group_id": frozen.options.get("task_id")})
            yield from plan(chord, args, family)
            return
        group_id = str(frozen.options["task_id"])
        family = replace(family, root_id=family.root_id or group_id)
        for index, member in enumerate(parts(frozen)):
            yield from plan(enlisted(member, {"group_id": group_id, "group_index": index}), args, family)
    elif frozen.task == CHORD:
        yield from _plan_chord(frozen, args, family)
    else:
        complete = frozen.clone(tuple(args))
        root = family.root_id or str(complete.options["task_id"])
        places = {"root_id": root, "parent_id": family.parent_id}
        yield Call(replace(complete, options={**complete.options, **places}))


def root_of(frozen: Signature) -> str:
    """The id that a frozen canvas's tasks have as their root's, where they have no other."""
    while frozen.task == CHAIN:
        frozen = parts(frozen)[0]
    return str(frozen.options["group_id" if frozen.task == CHORD else "task_id"])


def _plan_chord(chord: Signature, args: Sequence[object], family: Family) -> Iterator[Step]:
    group_id = str(chord.options["group_id"])
    family = replace(family, root_id=family.root_id or group_id)
    body = followed_by(body_of(chord), chain_in(chord))
    header = parts(chord)
    if not header:
        yield from plan(body, ([],), family)
        return
    reference = chord_reference(group_id, len(header), body)
    yield Join(group_id, len(header), replace(body, options={**body.options, "root_id": family.root_id}))
    for index, member in enumerate(header):
        place = {"group_id": group_id, "group_index": index, "chord": reference}
        yield from plan(enlisted(member, place), args, family)


def chord_reference(group_id: str, size: int, body: Signature) -> dict[str, object]:
    """What a chord's members carry of it."""
    short = Signature(task=body.task, options={"task_id": body.options.get("task_id")}, chord_size=size)
    return {**short.to_json(), JOIN: join_queue(group_id)}


def join_queue(group_id: str) -> str:
    """The queue where a chord is joined."""
    return f"aqt.chord.{group_id}"


def followed_by(signature: Signature, rest: JsonForms) -> Signature:
    """The signature with more to come after it; `rest` is in reverse, as on the wire."""
    if not rest:
        return signature
    return replace(signature, options={**signature.options, "chain": (*rest, *chain_in(signature))})


def enlisted(signature: Signature, place: Mapping[str, object]) -> Signature:
    """The signature as a member of a group or chord: a chain by its last step, a chord by its body."""
    chain = chain_in(signature)
    if chain:
        last = enlisted(signature_of(chain[0]), place).to_json()
        return replace(signature, options={**signature.options, "chain": (last, *chain[1:])})
    if signature.task == CHAIN:
        *before, last_step = parts(signature)
        return replace(signature, kwargs={"tasks": (*before, enlisted(last_step, place))})
    if signature.task == CHORD:
        kwargs = {**signature.kwargs, "body": enlisted(body_of(signature), place)}
        return replace(signature, kwargs=kwargs)
    return replace(signature, options={**signature.options, **place})


def membership(signature: Signature) -> Signature | None:
    """Of what is never going to run, the call that was to be a member of a chord: it has the option `chord`."""
    if signature.task == REST:
        last = signature.kwargs.get("last")
        return None if last is None else signature_of(last)
    chain = chain_in(signature)
    if chain:
        return membership(signature_of(chain[0]))
    if signature.task == CHAIN:
        return membership(parts(signature)[-1])
    if signature.task == CHORD:
        return membership(body_of(signature))
    return signature if signature.options.get("chord") else None


def stand_in(canvas: Signature, task_id: str, rest: JsonForms, place: Mapping[str, object]) -> Signature:
    """The canvas in the place of a task: with its id, what follows it, and its place in a group or chord."""
    one = gathered(canvas)
    named = replace(one, options={**one.options, "task_id": task_id})
    if rest:
        return followed_by(named, rest)
    return enlisted(named, place) if place else named


def first_of(canvas: Signature) -> Signature:
    """The call that a chord's body begins with, by which its failure is known; a group's is its first member."""
    while canvas.task in (CHAIN, GROUP, CHORD):
        inner = parts(canvas)
        if not inner:
            break
        canvas = inner[0]
    return canvas


def chain_in(signature: Signature) -> JsonForms:
    """What comes after a call, in reverse, as its option `chain` has it."""
    chain = signature.options.get("chain")
    return tuple(signature_of(form).to_json() for form in chain) if isinstance(chain, list | tuple) else ()
