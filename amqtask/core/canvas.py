"""Canvas: chains, groups and chords as signatures, and `freeze`, which brings them into the one shape that is sent.

A canvas is a Signature whose kwargs hold its parts, in Celery's form (`celery/canvas.py`). What the combinations mean:

- A group that something follows is a chord: its members' results come together first.
- A group as a member of a chord comes together as well: the chord's body gets a list in the list.
- `link` of a chain is for its last step, of a group for its first member, of a chord for its body; `link_error` is for
  each step of a chain, each member of a group, and the body of a chord. Other options are for what is sent first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from amqtask.core.glimpse import glimpse
from amqtask.core.signature import Signature
from amqtask.core.state import ResultRef
from amqtask.errors import MalformedMessage

CHAIN, GROUP, CHORD = "celery.chain", "celery.group", "celery.chord"
MAP, STARMAP, CHUNKS = "celery.map", "celery.starmap", "celery.chunks"
ACCUMULATE = "celery.accumulate"
"""A task that returns its arguments, or the one at `index`: the body of a chord that only brings results together."""

NewId: TypeAlias = Callable[[], str]

PLACE = frozenset(
    {"task_id", "group_id", "group_index", "chord", "chain", "root_id", "parent_id", "link", "link_error", "reply_to"}
)
"""Options that tell where a signature belongs; all others say how it is sent."""

COLLECT = Signature(task=ACCUMULATE, kwargs={"index": 0})


@dataclass(frozen=True, slots=True)
class Frozen:
    """A canvas in which everything has its id, and where the result will be asked for."""

    signature: Signature
    ref: ResultRef


def chain_of(steps: Iterable[Signature]) -> Signature:
    """A chain; chains in it are taken apart.

    Raises:
        ValueError: there is no step.
    """
    flat = [part for step in steps for part in (parts(step) if step.task == CHAIN and not step.options else [step])]
    if not flat:
        raise ValueError("a chain needs a step")
    return Signature(task=CHAIN, kwargs={"tasks": tuple(flat)}, subtask_type="chain")


def group_of(members: Iterable[Signature]) -> Signature:
    """A group."""
    return Signature(task=GROUP, kwargs={"tasks": tuple(members)}, subtask_type="group")


def chord_of(header: Iterable[Signature], body: Signature) -> Signature:
    """A chord: `body` is called with the list of the results of `header`."""
    return Signature(task=CHORD, kwargs={"header": tuple(header), "body": body}, subtask_type="chord")


def map_of(task: Signature, items: Iterable[object], *, star: bool = False) -> Signature:
    """One call that calls the task for each item, here and there in one message; `star` spreads an item's values."""
    kwargs: dict[str, object] = {"task": task, "it": tuple(items)}
    name, kind = (STARMAP, "starmap") if star else (MAP, "xmap")
    return Signature(task=name, kwargs=kwargs, subtask_type=kind, immutable=True)


def chunks_of(task: Signature, items: Iterable[object], size: int) -> Signature:
    """A group of starmaps of at most `size` items each.

    Raises:
        ValueError: the size is not positive.
    """
    if size < 1:
        raise ValueError(f"chunks of {size} items")
    values = tuple(items)
    cuts = range(0, len(values), size)
    return group_of(map_of(task, values[cut : cut + size], star=True) for cut in cuts)


def joined(first: Signature, then: Signature) -> Signature:
    """`first | then`: a group and what follows it are a chord, all else is a chain."""
    if first.task == GROUP and then.task != GROUP and not first.options:
        return chord_of(parts(first), then)
    return chain_of((first, then))


def parts(canvas: Signature) -> list[Signature]:
    """The steps of a chain, the members of a group, the header of a chord.

    Raises:
        MalformedMessage: they are no signatures.
    """
    name = "header" if canvas.task == CHORD else "tasks"
    value = canvas.kwargs.get(name)
    if name == "header" and isinstance(value, Signature | Mapping):
        header = signature_of(value)
        return parts(header) if header.task == GROUP else [header]
    if not isinstance(value, list | tuple):
        raise MalformedMessage(f"{name} of {canvas.task} hold {glimpse(value)}, expected a list of signatures")
    return [signature_of(item) for item in value]


def body_of(chord: Signature) -> Signature:
    """The body of a chord."""
    return signature_of(chord.kwargs.get("body"))


def everywhere(canvas: Signature, **options: object) -> Signature:
    """The canvas with call options on each of its calls."""
    if canvas.task not in (CHAIN, GROUP, CHORD):
        return _with(canvas, **options)
    name = "header" if canvas.task == CHORD else "tasks"
    kwargs = {**canvas.kwargs, name: tuple(everywhere(part, **options) for part in parts(canvas))}
    if canvas.task == CHORD:
        kwargs["body"] = everywhere(body_of(canvas), **options)
    return replace(canvas, kwargs=kwargs)


def signature_of(value: object) -> Signature:
    """A signature, or that of a JSON form."""
    return value if isinstance(value, Signature) else Signature.from_json(value)


def freeze(canvas: Signature, new_id: NewId, parent: ResultRef | None = None) -> Frozen:
    """The canvas as it is sent: in the shapes above, and with an id for everything that has none.

    Raises:
        MalformedMessage: it holds something else than signatures.
        ValueError: a chain has no step.
    """
    shaped = _shaped(canvas)
    if shaped.task == CHAIN:
        return _freeze_chain(shaped, new_id, parent)
    if shaped.task == GROUP:
        return _freeze_group(shaped, new_id, parent)
    if shaped.task == CHORD:
        return _freeze_chord(shaped, new_id, parent)
    frozen = shaped if shaped.options.get("task_id") else _with(shaped, task_id=new_id())
    return Frozen(frozen, ResultRef(id=str(frozen.options["task_id"]), parent=parent))


def _freeze_chain(chain: Signature, new_id: NewId, parent: ResultRef | None) -> Frozen:
    steps = parts(chain)
    if "task_id" in chain.options:
        steps[-1] = _with(steps[-1], task_id=chain.options["task_id"])
    before, done = parent, []
    for step in steps:
        frozen = freeze(step, new_id, before)
        done.append(frozen.signature)
        before = frozen.ref
    assert before is not None, "a chain has a step"
    options = {name: value for name, value in chain.options.items() if name != "task_id"}
    return Frozen(replace(chain, kwargs={"tasks": tuple(done)}, options=options), before)


def _freeze_group(group: Signature, new_id: NewId, parent: ResultRef | None) -> Frozen:
    group_id = str(group.options.get("task_id") or new_id())
    members = [freeze(member, new_id, parent) for member in parts(group)]
    frozen = replace(group, kwargs={"tasks": tuple(member.signature for member in members)})
    ref = ResultRef(id=group_id, parent=parent, members=tuple(member.ref for member in members))
    return Frozen(_with(frozen, task_id=group_id), ref)


def _freeze_chord(chord: Signature, new_id: NewId, parent: ResultRef | None) -> Frozen:
    group_id = str(chord.options.get("group_id") or new_id())
    members = [freeze(gathered(member), new_id, parent) for member in parts(chord)]
    header = ResultRef(id=group_id, parent=parent, members=tuple(member.ref for member in members))
    body = body_of(chord)
    if "task_id" in chord.options and not body.options.get("task_id"):
        # Of a chord that Celery froze it is the header's id; the body then has its own.
        body = _with(body, task_id=chord.options["task_id"])
    last = freeze(body, new_id, header)
    kwargs = {"header": tuple(member.signature for member in members), "body": last.signature}
    options = {name: value for name, value in chord.options.items() if name != "task_id"}
    return Frozen(replace(chord, kwargs=kwargs, options={**options, "group_id": group_id}), last.ref)


def gathered(member: Signature) -> Signature:
    """A member of a chord has one result: where it ends in a group, that comes together."""
    shaped = _shaped(member)
    return _shaped(chain_of((shaped, _collecting(shaped)))) if ends_in_group(shaped) else shaped


def _collecting(canvas: Signature) -> Signature:
    return COLLECT.set(route_as=_first_task(canvas))


def _first_task(canvas: Signature) -> str:
    while canvas.task in (CHAIN, GROUP, CHORD):
        inner = parts(canvas)
        canvas = inner[0] if inner else (body_of(canvas) if canvas.task == CHORD else COLLECT)
    return routed_as(canvas) or canvas.task


def routed_as(call: Signature) -> str | None:
    """The task by whose name a built-in one is routed: who works for the one works for the other."""
    if call.task in (MAP, STARMAP):
        return signature_of(call.kwargs.get("task")).task
    given = call.options.get("route_as")
    return given if isinstance(given, str) else None


def _shaped(canvas: Signature) -> Signature:
    """The canvas without groups that something follows, chains in chains, and options that are for its parts."""
    if canvas.task == CHUNKS:
        return _shaped(_chunks_of_celery(canvas))
    if canvas.task == CHAIN:
        return _shaped_chain(canvas)
    if canvas.task == GROUP:
        members = _shared([_shaped(member) for member in parts(canvas)], canvas)
        if members:
            first = members[0]
            for callback in canvas.callbacks:
                first = first.link(callback.set(immutable=True))
            members[0] = first
        kwargs: dict[str, object] = {"tasks": tuple(members)}
        return replace(canvas, kwargs=kwargs, options=_own(canvas), args=())
    if canvas.task == CHORD:
        body = body_of(canvas)
        for callback in canvas.callbacks:
            body = body.link(callback)
        for errback in canvas.errbacks:
            body = body.link_error(errback)
        header = [_sent_with(member, canvas) for member in parts(canvas)]
        kwargs = {"header": tuple(header), "body": _shaped(body)}
        return replace(canvas, kwargs=kwargs, options=_own(canvas), args=())
    return canvas


def _shaped_chain(chain: Signature) -> Signature:
    given = parts(chain)
    if not given:
        raise ValueError("a chain needs a step")
    given[0] = _sent_with(given[0], chain)
    for errback in chain.errbacks:
        given = [step.link_error(errback) for step in given]
    for callback in chain.callbacks:
        given[-1] = given[-1].link(callback)
    if chain.args:
        given[0] = given[0].clone(chain.args)
    flat: list[Signature] = []
    for step in map(_shaped, given):
        flat.extend(parts(step) if step.task == CHAIN else [step])
    steps: list[Signature] = []  # in reverse
    for step in reversed(flat):
        if steps and ends_in_group(step):
            steps.append(_followed(step, steps.pop()))
        else:
            steps.append(step)
    options = _own(chain)
    if len(steps) == 1:
        return replace(steps[0], options={**steps[0].options, **options})
    return replace(chain, kwargs={"tasks": tuple(reversed(steps))}, options=options, args=())


def _followed(step: Signature, then: Signature) -> Signature:
    """A step that ends in a group, and what follows it, as a chord."""
    if step.task == GROUP:
        return chord_of(parts(step), then)
    return replace(step, kwargs={**step.kwargs, "body": _shaped(chain_of((body_of(step), then)))})


def ends_in_group(canvas: Signature) -> bool:
    """Whether what follows the canvas is the body of a chord with its last part."""
    while canvas.task in (CHAIN, CHORD):
        canvas = parts(canvas)[-1] if canvas.task == CHAIN else body_of(canvas)
    return canvas.task == GROUP


def _shared(members: Sequence[Signature], group: Signature) -> list[Signature]:
    shared = [_sent_with(member, group) for member in members]
    for errback in group.errbacks:
        shared = [member.link_error(errback) for member in shared]
    return shared


def _sent_with(part: Signature, canvas: Signature) -> Signature:
    """A part with its canvas's arguments and with those of its options that say how it is sent."""
    options = {name: value for name, value in canvas.options.items() if name not in PLACE}
    args = canvas.args if canvas.task != CHAIN else ()
    return part.clone(args, None, **options) if options or args else part


def _own(canvas: Signature) -> dict[str, object]:
    kept = PLACE - {"link", "link_error"}
    return {name: value for name, value in canvas.options.items() if name in kept}


def _with(signature: Signature, **options: object) -> Signature:
    return replace(signature, options={**signature.options, **options})


def _chunks_of_celery(canvas: Signature) -> Signature:
    task, items, size = (canvas.kwargs.get(name) for name in ("task", "it", "n"))
    if not isinstance(items, list | tuple) or not isinstance(size, int):
        raise MalformedMessage(f"chunks of {glimpse(items)} by {glimpse(size)}")
    group = chunks_of(signature_of(task), [item if isinstance(item, list | tuple) else (item,) for item in items], size)
    return replace(group, options=canvas.options)
