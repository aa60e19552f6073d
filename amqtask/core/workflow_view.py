"""A workflow's tree as text, as a Mermaid flowchart and as JSON."""

import collections
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from amqtask.core.message import Json
from amqtask.core.state import FAILED_STATES, SUCCESS
from amqtask.core.workflow import Node, calls

MOST_SHOWN = 30
"""Members of one group that the text shows; how many there are besides, and their states, it says in a line."""


def summary(nodes: Iterable[Node]) -> dict[str, int]:
    """How many steps are in which state, the most frequent first."""
    states = collections.Counter(node.status for node in calls(nodes))
    return dict(states.most_common())


def as_text(nodes: Iterable[Node], *, most: int = MOST_SHOWN) -> Iterator[str]:
    """The tree's lines."""
    for node in nodes:
        yield _line(node)
        yield from _below(node, "", most)


def _below(node: Node, indent: str, most: int) -> Iterator[str]:
    inner = node.parts if len(node.parts) <= most or node.kind == "chain" else node.parts[:most]
    rest = node.parts[len(inner) :]
    entries: list[tuple[str, Node | None]] = [(_line(part), part) for part in inner]
    if rest:
        entries.append((f"… {len(rest)} more: {_counted(summary(rest))}", None))
    if node.more:
        entries.append((f"… {node.more} more, not recorded", None))
    if node.body is not None:
        entries.append((f"then {_line(node.body)}", node.body))
    entries += [(f"sent {_line(one)}" if not one.role else _line(one), one) for one in node.sent]
    for number, (text, part) in enumerate(entries, 1):
        last = number == len(entries)
        yield f"{indent}{'└─' if last else '├─'} {text}"
        if part is not None:
            yield from _below(part, indent + ("   " if last else "│  "), most)


def _line(node: Node) -> str:
    if node.kind != "task":
        size = len(node.parts) + node.more
        return f"{node.kind} of {size}  {node.status}"
    words = [f"{node.role} {node.task}" if node.role else node.task, f" {node.status}"]
    state = node.state
    if state is not None:
        began = state.at if state.started is None else state.started
        words.append(f" {datetime.fromtimestamp(began, UTC):%H:%M:%S.%f}"[:-3])
        if state.runtime is not None:
            words.append(f" {state.runtime:.3f} s")
        if state.retries:
            words.append(f" retry {state.retries}")
        if state.worker:
            words.append(f" {state.worker}")
    words.append(f" [{node.id}]")
    if state is not None and state.error:
        words.append(f" {state.error}")
    return " ".join(words)


def _counted(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def headline(nodes: list[Node]) -> str:
    """How the workflow stands, in a line."""
    return _counted(summary(nodes))


# Mermaid

_CLASSES = (
    "classDef success fill:#d5f5d5,stroke:#2e7d32",
    "classDef failed fill:#fadbd8,stroke:#b71c1c",
    "classDef running fill:#d6eaf8,stroke:#1565c0",
    "classDef waiting fill:#f4f4f4,stroke:#888",
)


def as_mermaid(nodes: Iterable[Node], *, most: int = MOST_SHOWN) -> Iterator[str]:
    """The lines of a flowchart: arrows go from what ends to what begins then, dotted ones to what a task sent."""
    chart = _Chart(most)
    yield "flowchart TD"
    for node in nodes:
        chart.draw(node)
    yield from (f"  {line}" for line in (*chart.lines, *_CLASSES))


class _Chart:
    def __init__(self, most: int) -> None:
        self.lines: list[str] = []
        self._most = most
        self._count = 0

    def draw(self, node: Node) -> tuple[list[str], list[str]]:
        """Draw a node; the names of what it begins with and of what it ends with."""
        if node.kind == "chain":
            return self._chain(node)
        if node.kind == "task":
            return self._task(node)
        begins: list[str] = []
        ends: list[str] = []
        for part in node.parts[: self._most]:
            first, last = self.draw(part)
            begins += first
            ends += last
        left = len(node.parts) + node.more - min(len(node.parts), self._most)
        if left:
            rest = self._box(f"… {left} more", "waiting")
            begins.append(rest)
            ends.append(rest)
        if node.body is None:
            return begins, ends
        first, last = self.draw(node.body)
        self._connect(ends, first)
        return begins or first, last

    def _chain(self, chain: Node) -> tuple[list[str], list[str]]:
        begins: list[str] = []
        ends: list[str] = []
        for step in chain.parts:
            first, last = self.draw(step)
            self._connect(ends, first)
            begins, ends = begins or first, last
        if chain.more:
            rest = self._box(f"… {chain.more} more", "waiting")
            self._connect(ends, [rest])
            ends = [rest]
        return begins, ends

    def _task(self, node: Node) -> tuple[list[str], list[str]]:
        label = f"{node.task}<br/>{node.status}"
        if node.state is not None and node.state.runtime is not None:
            label += f" {node.state.runtime:.3f} s"
        box = self._box(label, _class(node.status))
        for one in node.sent:
            first, _ = self.draw(one)
            self.lines += [f"{box} -.-> {name}" for name in first]
        return [box], [box]

    def _box(self, label: str, kind: str) -> str:
        self._count += 1
        name = f"n{self._count}"
        quoted = label.replace('"', "#quot;")
        self.lines.append(f'{name}["{quoted}"]:::{kind}')
        return name

    def _connect(self, ends: list[str], begins: list[str]) -> None:
        if len(ends) > 1 and len(begins) > 1:
            self._count += 1
            knot = f"n{self._count}"
            self.lines.append(f"{knot}(( ))")
            self._connect(ends, [knot])
            ends = [knot]
        self.lines += [f"{end} --> {begin}" for end in ends for begin in begins]


def _class(status: str) -> str:
    if status == SUCCESS:
        return "success"
    if status in FAILED_STATES:
        return "failed"
    return "running" if status in ("STARTED", "RETRY") else "waiting"


# JSON


def as_json(root_id: str, nodes: list[Node]) -> dict[str, Json]:
    """The tree as JSON: what is empty or unknown is left out."""
    counted: dict[str, Json] = {**summary(nodes)}
    return {"root_id": root_id, "steps": counted, "tree": [_json(node) for node in nodes]}


def _json(node: Node) -> Json:
    form: dict[str, Json] = {"kind": node.kind, "status": node.status}
    for name in ("id", "task", "role", "more"):
        value: Json = getattr(node, name)
        if value:
            form[name] = value
    state = node.state
    if state is not None:
        facts: dict[str, Json] = {
            "started": _iso(state.started),
            "at": _iso(state.at),
            "runtime": state.runtime,
            "retries": state.retries or None,
            "worker": state.worker or None,
            "error": state.error or None,
        }
        form.update({name: value for name, value in facts.items() if value is not None})
    if node.parts:
        form["parts"] = [_json(part) for part in node.parts]
    if node.body is not None:
        form["body"] = _json(node.body)
    if node.sent:
        form["sent"] = [_json(one) for one in node.sent]
    return form


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
