"""Rest: of a long chain a message carries the next steps, and the name of a queue where the others are.

They are cut into blocks. Each waits in a queue of its own, opened like that of a chord without members, until the step
before it has its result (`amqtask.worker.chords`). So each step is kept once, and no message grows with the length of
the chain. In a message's chain the reference stands where a signature would, as a call of a task that is none.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from amqtask.core.canvas import CHAIN, ends_in_group, signature_of
from amqtask.core.plan import REST, Call, Join, Step, chain_in, join_queue, membership
from amqtask.core.signature import Signature


def parked(steps: Iterable[Step], inline: int | None) -> Iterator[Step]:
    """The steps with chains of at most `inline` bytes of JSON; before each the joins that keep the rest of it.

    What a message needs as its next step is kept elsewhere, too, where it is larger than that. None: no bound.
    """
    for step in steps:
        if isinstance(step, Call) and inline is not None:
            yield from _parked(step.signature, inline)
        else:
            yield step


def _parked(call: Signature, inline: int) -> Iterator[Step]:
    chain = chain_in(call)
    # What was cut before ends with a reference already.
    cut = 1 if chain and rest_queue(chain[0]) is not None else 0
    if len(chain) == cut or _size(chain[cut:]) <= inline:
        yield Call(call)
        return
    carried, *blocks = _blocks(list(reversed(chain[cut:])), inline)
    last = membership(signature_of(chain[0]))
    rest = list(chain[:cut])
    for number in range(len(blocks), 0, -1):
        name = f"{call.options['task_id']}.rest.{number}"
        tasks = tuple(signature_of(form) for form in (*blocks[number - 1], *rest))
        yield Join(name, 0, Signature(task=CHAIN, kwargs={"tasks": tasks}, subtask_type="chain"))
        rest = [_reference(join_queue(name), last).to_json()]
    yield Call(replace(call, options={**call.options, "chain": (*rest, *reversed(carried))}))


def _blocks(forms: list[Mapping[str, object]], inline: int) -> list[list[Mapping[str, object]]]:
    """The steps in their order: what is carried, which may be nothing, then blocks of at least one."""
    blocks: list[list[Mapping[str, object]]] = [[]]
    room = inline
    held = False
    for form in forms:
        size = _size(form)
        if size > room and not held:
            blocks.append([])
            room = inline
        blocks[-1].append(form)
        room -= size
        # What follows a group is the body of a chord with it, and a reference cannot be one.
        held = ends_in_group(signature_of(form))
    return blocks


def _reference(queue: str, last: Signature | None) -> Signature:
    """`last` is the member of a chord that the chain ends with, which must hear if the chain breaks."""
    kwargs: dict[str, object] = {"queue": queue}
    if last is not None:
        place = {name: last.options.get(name) for name in ("task_id", "group_id", "group_index", "chord")}
        kwargs["last"] = Signature(task=last.task, options=place)
    return Signature(task=REST, kwargs=kwargs)


def rest_queue(form: Mapping[str, object]) -> str | None:
    """Where the rest is that a message's next step refers to; None where the step is one itself."""
    kwargs = form.get("kwargs")
    return str(kwargs.get("queue")) if form.get("task") == REST and isinstance(kwargs, Mapping) else None


def _size(form: object) -> int:
    return len(json.dumps(form, default=str))
