"""What is recorded of a workflow, and the tree that its records make.

Who sends a canvas records its outline once; workers record the states of its steps. All records of a workflow have its
root's id, and may come in any order and twice.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from amqtask.core.canvas import CHAIN, CHORD, GROUP, body_of, parts
from amqtask.core.glimpse import glimpse
from amqtask.core.signature import Signature
from amqtask.core.state import FAILED_STATES, PENDING, SUCCESS, TaskResult, is_final, precedence
from amqtask.errors import MalformedMessage

MARK = "x-aqt-workflow"
"""The header of a message that belongs to a workflow: `STEP`, or `ERRBACK` for what a failure called."""

STEP, ERRBACK = "step", "errback"

MOST_CALLS = 1000
"""Calls of which a record of an outline tells; of the others it says how many there are."""

SKIPPED = "SKIPPED"
"""The state of a step that is never going to run, because one before it failed or was revoked."""

RUNNING = "STARTED"

IGNORED = "IGNORED"
"""The state of a step that ended without one: by `Ignore`, as when it was replaced."""

Outline: TypeAlias = "dict[str, str | int | list[Outline] | Outline]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A canvas was sent, by the task `parent_id` or as the workflow's beginning, `at` seconds since the epoch."""

    outline: Mapping[str, object]
    parent_id: str | None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """A step's state at a moment. `at` and `started` are seconds since the epoch, `runtime` is seconds."""

    task_id: str
    task: str
    status: str
    at: float
    started: float | None = None
    runtime: float | None = None
    retries: int = 0
    worker: str = ""
    error: str = ""
    parent_id: str | None = None
    role: str = STEP


Entry: TypeAlias = Graph | StepState


@dataclass(slots=True, kw_only=True)
class Node:
    """A task, chain, group or chord of the tree, with what its parts say of it.

    `sent` is what a task sent while it ran, and the callbacks and errbacks of it that are known to have run.
    """

    kind: str
    id: str = ""
    task: str = ""
    role: str = ""
    status: str = PENDING
    state: StepState | None = None
    parts: "list[Node]" = field(default_factory=list)
    body: "Node | None" = None
    more: int = 0
    sent: "list[Node]" = field(default_factory=list)


def outline(canvas: Signature, most: int = MOST_CALLS) -> Outline:
    """The names and ids of a frozen canvas, of at most so many calls."""
    return _outline(canvas, [most])


def _outline(canvas: Signature, left: list[int]) -> Outline:
    if canvas.task not in (CHAIN, GROUP, CHORD):
        left[0] -= 1
        return {"id": str(canvas.options.get("task_id") or ""), "task": canvas.task}
    body: Outline = {"body": _outline(body_of(canvas), left)} if canvas.task == CHORD else {}
    told: list[Outline] = []
    inner = parts(canvas)
    for part in inner:
        if left[0] <= 0:
            break
        told.append(_outline(part, left))
    more: Outline = {"more": len(inner) - len(told)} if len(told) < len(inner) else {}
    if canvas.task == CHAIN:
        return {"chain": told, **more}
    name, option = ("chord", "group_id") if canvas.task == CHORD else ("group", "task_id")
    return {name: str(canvas.options.get(option) or ""), "members": told, **more, **body}


def entry_to_json(entry: Entry) -> dict[str, object]:
    """The record of an entry."""
    if isinstance(entry, Graph):
        return {"outline": entry.outline, "parent_id": entry.parent_id, "at": entry.at}
    form = {name: getattr(entry, name) for name in StepState.__slots__}
    return {name: value for name, value in form.items() if value not in (None, "", 0)}


def entry_from_json(form: object) -> Entry:
    """The entry of a record.

    Raises:
        MalformedMessage: it is none.
    """
    if not isinstance(form, Mapping):
        raise MalformedMessage(f"the log of workflows holds {glimpse(form)}")
    match form:
        case {"outline": Mapping() as outlined, "parent_id": str() | None as parent, "at": float() | int() as at}:
            return Graph(outline=outlined, parent_id=parent, at=at)
        case {"task_id": str(), "task": str(), "status": str(), "at": float() | int()}:
            return StepState(**{name: value for name, value in form.items() if name in StepState.__slots__})
    raise MalformedMessage(f"the log of workflows holds {glimpse(form)}")


def latest(states: Iterable[StepState]) -> "dict[tuple[str, str], StepState]":
    """What counts of each step, by its id and task: as for results, a final state most, then the later attempt.

    A task that was replaced and the last of what replaced it have one id.
    """
    found: dict[tuple[str, str], StepState] = {}
    for state in states:
        key = (state.task_id, state.task)
        known = found.get(key)
        if known is None or _rank(state) >= _rank(known):
            found[key] = state
    return found


def _rank(state: StepState) -> int:
    done = datetime.fromtimestamp(state.at, UTC) if is_final(state.status) else None
    return precedence(TaskResult(task_id=state.task_id, status=state.status, retries=state.retries, date_done=done))


def tree(entries: Iterable[Entry]) -> list[Node]:
    """The tree of a workflow: what was sent first, then whatever belongs to no task that is known."""
    noted = list(entries)
    graphs = {(entry.parent_id, str(entry.outline)): entry for entry in noted if isinstance(entry, Graph)}
    return _Builder(latest(entry for entry in noted if isinstance(entry, StepState)), graphs.values()).build()


def calls(nodes: Iterable[Node]) -> Iterable[Node]:
    """All tasks of a tree."""
    for node in nodes:
        if node.kind == "task":
            yield node
        yield from calls([*node.parts, *([node.body] if node.body is not None else ()), *node.sent])


class _Builder:
    def __init__(self, states: Mapping[tuple[str, str], StepState], graphs: Iterable[Graph]) -> None:
        self._left = dict(states)
        self._graphs = sorted(graphs, key=lambda graph: graph.at)
        self._tasks: dict[str, Node] = {}

    def build(self) -> list[Node]:
        roots = [self._node(graph.outline) for graph in self._graphs if graph.parent_id is None]
        within = [graph for graph in self._graphs if graph.parent_id is not None]
        # In the order in which they were sent, so that what they were sent by is there; else they stand by themselves.
        for graph in within:
            parent = self._tasks.get(str(graph.parent_id))
            (roots if parent is None else parent.sent).append(self._node(graph.outline))
        for state in sorted(self._left.values(), key=lambda state: state.at):
            node = Node(kind="task", id=state.task_id, task=state.task, state=state, status=state.status)
            node.role = "errback" if state.role == ERRBACK else "callback"
            parent = self._tasks.get(str(state.parent_id))
            (roots if parent is None else parent.sent).append(node)
            self._tasks.setdefault(state.task_id, node)
        for root in roots:
            _settle(root)
        return roots

    def _node(self, outlined: Mapping[str, object]) -> Node:
        more = outlined.get("more")
        node = Node(kind="task", more=more if isinstance(more, int) else 0)
        if "chain" in outlined:
            node.kind, node.parts = "chain", self._nodes(outlined["chain"])
        elif "members" in outlined:
            node.kind = "chord" if "chord" in outlined else "group"
            node.id, node.parts = str(outlined.get(node.kind)), self._nodes(outlined["members"])
            body = outlined.get("body")
            node.body = self._node(body) if isinstance(body, Mapping) else None
        else:
            node.id, node.task = str(outlined.get("id")), str(outlined.get("task"))
            node.state = self._left.pop((node.id, node.task), None)
            self._tasks.setdefault(node.id, node)
            node.status = PENDING if node.state is None else node.state.status
        return node

    def _nodes(self, forms: object) -> list[Node]:
        return [self._node(form) for form in forms if isinstance(form, Mapping)] if isinstance(forms, list) else []


def _settle(node: Node) -> None:
    """Give chains, groups and chords the state that their parts make, and steps the one that follows from others."""
    for part in [*node.parts, *([node.body] if node.body is not None else ()), *node.sent]:
        _settle(part)
    if node.kind == "chain":
        _infer(node.parts)
        node.status = _in_order(node.parts)
    elif node.kind == "group":
        node.status = _of_all(node.parts)
    elif node.kind == "chord" and node.body is not None:
        failed = any(part.status in FAILED_STATES for part in node.parts)
        if failed and node.body.status == PENDING:
            _skip(node.body)
        begun = node.body.status not in (PENDING, SKIPPED)
        node.status = node.body.status if begun else _of_all(node.parts)
        if node.status == SUCCESS and not begun:
            node.status = RUNNING
    elif node.kind == "task" and node.status == IGNORED:
        # Replaced, if what it sent has its id: then it is in the state of that.
        node.status = next((one.status for one in node.sent if _holds(one, node.id)), node.status)


def _holds(node: Node, task_id: str) -> bool:
    return any(call.id == task_id for call in calls([node]))


def _infer(steps: list[Node]) -> None:
    """A step whose next one has begun succeeded, although its worker died before it said so; after one that failed
    none runs."""
    for before, after in itertools.pairwise(steps):
        if before.status in (*FAILED_STATES, SKIPPED) and after.status == PENDING:
            _skip(after)
    for index in range(len(steps) - 2, -1, -1):
        if steps[index + 1].status not in (PENDING, SKIPPED) and not is_final(steps[index].status):
            steps[index].status = SUCCESS


def _skip(node: Node) -> None:
    node.status = SKIPPED
    for part in [*node.parts, *([node.body] if node.body is not None else ())]:
        _skip(part)


def _in_order(steps: list[Node]) -> str:
    for step in steps:
        if step.status in FAILED_STATES:
            return step.status
    if steps and steps[-1].status == SUCCESS:
        return SUCCESS
    return RUNNING if any(step.status != PENDING for step in steps) else PENDING


def _of_all(members: list[Node]) -> str:
    found = {member.status for member in members}
    if found <= {SUCCESS}:
        return SUCCESS
    if found == {PENDING}:
        return PENDING
    return next((member.status for member in members if member.status in FAILED_STATES), RUNNING)
