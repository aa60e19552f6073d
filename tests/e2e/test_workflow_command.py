"""`amqtask workflow`: what it shows of chains, groups and chords, and what it cancels."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    from amqtask import chain, chord, group

    @app.task
    def add(a, b):
        return a + b

    @app.task
    def total(numbers):
        return sum(numbers)

    @app.task
    def fail(*args):
        raise ValueError("no luck")

    @app.task
    def witness(task_id):
        note("witness", task_id)

    @app.task(bind=True)
    def instead(self, number):
        self.replace(add.s(number, 1) | add.s(10))
    """


def shown(app: Scratch, root: str) -> dict[str, Any]:
    done = app.run("workflow", "show", root, "--json", "-A", "tasks:app")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


AWAIT = """
import time
import tasks
from amqtask.core.workflow_view import summary
from amqtask.workflowreader import read_workflow

until = time.monotonic() + 60
while True:
    seen = summary(read_workflow(tasks.app.session_options, tasks.app.publisher, {root!r}, 20.0))
    if seen == {steps!r}:
        break
    assert time.monotonic() < until, seen
    time.sleep(0.1)
"""


def all_in(app: Scratch, root: str, steps: dict[str, int]) -> dict[str, Any]:
    """The tree, as soon as so many steps are in these states."""
    app.python(AWAIT.format(root=root, steps=steps))
    return shown(app, root)


def test_the_tree_of_a_nested_canvas_has_all_steps_with_states_and_times(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2", "-n", "one@h"):
        root = app.python(
            """
            from tasks import add, chain, chord, group, instead, total
            inner = chord([add.s(1), instead.s() | add.s(5)], total.s())
            result = chain(add.s(1, 1), group(inner, add.s(3)), total.s(), add.s(1)).delay()
            assert result.get(timeout=60) == 3 + 18 + 5 + 1, result.get()
            first = result
            while first.parent is not None:
                first = first.parent
            print(first.id)
            """
        ).strip()
        tree = all_in(app, root, {"SUCCESS": 10})

        text = app.run("workflow", "show", root, "-A", "tasks:app").stdout
        chart = app.run("workflow", "show", root, "--mermaid", "-A", "tasks:app").stdout

    (chain,) = tree["tree"]
    assert (chain["kind"], chain["status"]) == ("chain", "SUCCESS")
    first, outer, _ = chain["parts"]
    assert (first["id"], first["worker"]) == (root, "one@h")
    assert first["runtime"] >= 0
    assert first["started"]
    assert [part["kind"] for part in outer["parts"]] == ["chord", "task"]
    replaced = outer["parts"][0]["parts"][1]["parts"][0]
    assert replaced["task"] == "tasks.instead"
    assert replaced["sent"][0]["kind"] == "chain"
    assert "tasks.add  SUCCESS" in text
    assert "then tasks.total  SUCCESS" in text
    assert chart.startswith("flowchart TD\n")
    assert chart.count('["tasks.') == 10
    assert "-->" in chart


def test_what_failed_and_what_so_never_runs_is_told_apart(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2"):
        root = app.python(
            "from tasks import *; r = chain(add.s(1, 1), fail.s().on_error(witness.s()), add.s(1)).delay()\n"
            "print(r.parent.parent.id)"
        ).strip()
        tree = all_in(app, root, {"SUCCESS": 2, "FAILURE": 1, "SKIPPED": 1})

    (chain,) = tree["tree"]
    failed = chain["parts"][1]
    assert chain["status"] == "FAILURE"
    assert "no luck" in failed["error"]
    assert [(one["role"], one["task"]) for one in failed["sent"]] == [("errback", "tasks.witness")]


def test_an_unknown_root_is_said_and_is_exit_code_1(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    done = app.run("workflow", "show", "nobody", "-A", "tasks:app")
    assert done.returncode == 1
    assert "nothing is recorded of a workflow with the root nobody" in done.stderr


def test_plain_tasks_are_not_recorded(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        task = app.python("from tasks import *; r = add.delay(1, 1); r.get(timeout=60); print(r.id)").strip()
        # What follows is recorded, and so it is known that enough time has passed.
        root = app.python("from tasks import *; r = group(add.s(1, 1), add.s(2, 2)).delay(); print(r.id)").strip()
        all_in(app, root, {"SUCCESS": 2})
        assert app.run("workflow", "show", task, "-A", "tasks:app").returncode == 1


CANCELLED = """
import tasks
from tasks import add, chain, chord, group, slow, total, witness
from amqtask import ChordError, TaskRevoked

def outcome(result):
    try:
        return result.get(timeout=60)
    except (ChordError, TaskRevoked) as error:
        return type(error).__name__

line = chain(slow.si("first"), add.si(1, 1), add.s(1)).delay()
joined = chord([add.si(n, n) for n in range(3)], total.s().on_error(witness.s())).delay()
later = group(add.si(1, 1).set(countdown=2), add.si(2, 2).set(countdown=2)).delay()
tasks.wait_for("slow first")
roots = [line.parent.parent.id, joined.parent.id, later.id]
answers = tasks.app.control.to(timeout=30, limit=1).revoke_root(*roots, reply=True)
assert len(answers) == 1, answers
open("go", "w").close()
print(outcome(line), outcome(joined), *(outcome(one) for one in later), line.parent.parent.get(timeout=60))
print(roots[0], roots[1], joined.id)
"""


def test_cancelling_a_root_drops_what_has_not_started_and_tells_errbacks_of_chords(scratch: MakeScratch) -> None:
    app = scratch(
        TASKS
        + """
    from pathlib import Path

    def wait_for(line):
        while line not in Path(JOURNAL).read_text().splitlines():
            time.sleep(0.02)

    @app.task
    def slow(name):
        note("slow", name)
        while not Path("go").exists():
            time.sleep(0.02)
        return name
    """
    )
    app.journal.touch()
    with app.worker("-c", "1"):
        said, ids = app.python(CANCELLED).splitlines()
        line, joined, body = ids.split()
        eventually(lambda: f"witness {body}" in app.lines(), 30, lambda: str(app.lines()))
        tree = all_in(app, line, {"SUCCESS": 1, "REVOKED": 1, "SKIPPED": 1})
        all_in(app, joined, {"REVOKED": 3, "SKIPPED": 1, "SUCCESS": 1})
    assert said == "TaskRevoked ChordError TaskRevoked TaskRevoked first"
    assert tree["tree"][0]["status"] == "REVOKED"

    # A node that starts later knows of it.
    with app.worker("-c", "1"):
        code = f"from tasks import *; r = add.apply_async((1, 1), root_id={line!r}); print(r.get(propagate=False))"
        assert "revoked" in app.python(code)
        assert app.lines() == ["slow first", f"witness {body}"]


def test_cancelling_where_no_node_listens_is_exit_code_69(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    done = app.run("workflow", "cancel", "some-root", "-t", "1", "-A", "tasks:app")
    assert done.returncode == 69
    assert "no node answered" in done.stderr


STAMPED = """
from tasks import add, app, group
from amqtask import TaskRevoked

marked = group(add.si(n, n).set(countdown=2) for n in range(3)).stamp(run="7").delay()
other = add.si(5, 5).set(countdown=2).stamp(run="8").delay()
answers = app.control.to(timeout=30, limit=1).revoke_by_stamped_headers({"run": "7"}, reply=True)
assert len(answers) == 1, answers
assert all(isinstance(one.get(timeout=60, propagate=False), TaskRevoked) for one in marked)
assert other.get(timeout=60) == 10
"""


def test_a_stamped_canvas_is_revoked_by_its_stamp(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "1"):
        app.python(STAMPED)
