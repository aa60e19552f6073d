"""The tree of a workflow's records: states that follow from others, what was replaced, bounds; text and flowchart."""

import pytest

from amqtask import chain, chord, group, signature
from amqtask.core.canvas import freeze
from amqtask.core.plan import root_of
from amqtask.core.workflow import (
    ERRBACK,
    MOST_CALLS,
    Entry,
    Graph,
    Node,
    StepState,
    calls,
    entry_from_json,
    entry_to_json,
    outline,
    tree,
)
from amqtask.core.workflow_view import as_json, as_mermaid, as_text, summary
from amqtask.errors import MalformedMessage


def frozen(canvas: object) -> Graph:
    """The record of a canvas whose ids are 1, 2, 3 …"""
    numbers = iter(range(1, 100_000))
    made = freeze(signature(canvas), lambda: str(next(numbers)))  # type: ignore[arg-type]
    return Graph(outline=outline(made.signature), parent_id=None, at=1.0)


def step(task_id: str, status: str, *, task: str = "add", **more: object) -> StepState:
    return StepState(task_id=task_id, task=task, status=status, at=2.0, **more)  # type: ignore[arg-type]


def one(*entries: Entry) -> Node:
    (node,) = tree(entries)
    return node


ADD = signature("add")


def test_a_record_comes_back_as_it_was() -> None:
    entries: list[Entry] = [frozen(chord([ADD, ADD], ADD)), step("1", "SUCCESS", runtime=0.5, error="", parent_id="7")]
    assert [entry_from_json(entry_to_json(entry)) for entry in entries] == entries
    with pytest.raises(MalformedMessage, match="log of workflows"):
        entry_from_json({"task_id": 3})
    with pytest.raises(MalformedMessage, match="log of workflows"):
        entry_from_json(None)


def test_what_comes_after_a_failure_never_runs_and_what_has_a_successor_succeeded() -> None:
    record = frozen(chain(ADD, ADD, group(ADD, ADD), ADD))
    failed = one(record, step("2", "FAILURE"))
    assert [part.status for part in failed.parts] == ["SUCCESS", "FAILURE", "SKIPPED"]
    assert failed.status == "FAILURE"
    assert summary([failed]) == {"SKIPPED": 3, "SUCCESS": 1, "FAILURE": 1}

    told_late = one(frozen(chain(ADD, ADD)), step("2", "SUCCESS"), step("1", "STARTED"))
    assert [part.status for part in told_late.parts] == ["SUCCESS", "SUCCESS"]


@pytest.mark.parametrize(
    ("first", "second", "body", "status"),
    [
        ("PENDING", "PENDING", None, "PENDING"),
        ("SUCCESS", "PENDING", None, "STARTED"),
        ("SUCCESS", "SUCCESS", None, "STARTED"),
        ("SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS"),
        ("SUCCESS", "REVOKED", None, "REVOKED"),
    ],
)
def test_a_chord_is_in_the_state_that_its_parts_make(first: str, second: str, body: str | None, status: str) -> None:
    record = frozen(chord([ADD, ADD], ADD))
    ids = [call.id for call in calls([one(record)])]
    states = [step(task_id, state) for task_id, state in zip(ids, (first, second, body), strict=True) if state]
    node = one(record, *(state for state in states if state.status != "PENDING"))
    assert node.status == status
    assert node.body is not None
    assert (node.body.status == "SKIPPED") == (status == "REVOKED")


def test_what_a_task_sent_stands_below_it_and_a_replaced_one_is_in_the_state_of_its_replacement() -> None:
    within = Graph(outline={"chain": [{"id": "8", "task": "x"}, {"id": "1", "task": "y"}]}, parent_id="1", at=3.0)
    node = one(
        within,  # records come in any order
        step("1", "IGNORED"),
        step("1", "SUCCESS", task="y"),
        step("8", "SUCCESS", task="x"),
        step("9", "SUCCESS", task="told", parent_id="1", role=ERRBACK),
        frozen(chain(ADD, ADD)),
    ).parts[0]
    assert (node.task, node.status) == ("add", "SUCCESS")
    assert [part.kind for part in node.sent] == ["chain", "task"]
    assert node.sent[1].role == "errback"


def test_of_reports_a_final_state_counts_most_then_the_later_attempt() -> None:
    states = [step("1", "SUCCESS"), step("1", "STARTED", retries=2), step("1", "RETRY", retries=1)]
    assert one(frozen(chain(ADD, ADD)), *states).parts[0].status == "SUCCESS"
    assert one(frozen(chain(ADD, ADD)), *states[1:]).parts[0].status == "STARTED"


def test_a_large_group_is_recorded_up_to_a_bound_and_shown_up_to_another() -> None:
    node = one(frozen(group(ADD for _ in range(MOST_CALLS + 500))))
    assert len(node.parts) == MOST_CALLS
    assert node.more == 500
    text = list(as_text([node], most=10))
    assert text[0] == "group of 1500  PENDING"
    assert len(text) == 13
    assert text[-2:] == ["├─ … 990 more: 990 PENDING", "└─ … 500 more, not recorded"]
    assert as_json("1", [node])["steps"] == {"PENDING": MOST_CALLS}


def test_the_text_and_the_chart_show_what_follows_what() -> None:
    record = frozen(chain(ADD, group(ADD, ADD), group(ADD, ADD)))
    (node,) = tree([record, step("1", "SUCCESS", runtime=0.25, worker="w@h", started=86_399.5, retries=1)])
    text = list(as_text([node]))
    assert text[1] == "├─ add  SUCCESS  23:59:59.500  0.250 s  retry 1  w@h  [1]"
    assert any(line.startswith("   └─ then group of 2") for line in text)
    chart = list(as_mermaid([node]))
    assert '  n1["add<br/>SUCCESS 0.250 s"]:::success' in chart
    # From one to both, by a knot from both to both.
    assert sum("-->" in line for line in chart) == 2 + 2 + 2


def test_the_root_of_a_canvas_is_its_first_task_or_group() -> None:
    numbers = iter(range(1, 100))

    def root(canvas: object) -> str:
        return root_of(freeze(signature(canvas), lambda: str(next(numbers))).signature)  # type: ignore[arg-type]

    assert root(chain(ADD, ADD)) == "1"
    assert root(group(ADD, ADD)) == "3"
    assert root(chord([ADD], ADD)) == "6"
