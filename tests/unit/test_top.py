"""The live view, driven by textual's pilot in a terminal of 80 by 24."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static, TabbedContent

from amqtask.events.cluster import Cluster
from amqtask.tui.source import PATIENCE, NodeRow, QueueRow, Rates, Running, Snapshot, task_row
from amqtask.tui.top import Top, detail


def tasks() -> Cluster:
    cluster = Cluster()
    for number, (name, kind) in enumerate([("mail.send", "started"), ("add", "succeeded"), ("broken", "failed")]):
        common = {"hostname": "web1@shop", "uuid": f"id-{number}", "timestamp": 1000.0 + number}
        cluster.take({"type": "task-received", "name": name, "args": "(1, 2)", "kwargs": "{}", **common})
        more = {"result": "3"} if kind == "succeeded" else {"exception": "E()", "traceback": "Trace\n  line"}
        cluster.take({"type": f"task-{kind}", **({} if kind == "started" else more), **common})
    return cluster


class FakeSource:
    """A fleet that does not change, and what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any], str | None]] = []
        self.paused = False

    def snapshot(self) -> Snapshot:
        node = {"state": "online", "processes": 2, "active": 1, "reserved": 3, "processed": 10, "rate": 1.5}
        return Snapshot(
            nodes=tuple(
                NodeRow(name=name, load=0.5, uptime=61, version="0.1.0", **node)  # type: ignore[arg-type]
                for name in ("web1@shop", "web2@shop")
            ),
            queues=(
                QueueRow(name="hi", ready=0, consumers=2, rate=0.0, paused=False),
                QueueRow(name="lo", ready=7, consumers=0, rate=1.0, paused=self.paused),
            ),
            tasks=tuple(task_row(task) for task in tasks().find()),
        )

    def command(self, method: str, arguments: dict[str, Any], node: str | None = None) -> str:
        self.told.append((method, arguments, node))
        return f"{method} done"


def drive(script: Callable[[Pilot[None], Top, FakeSource], Awaitable[None]]) -> None:
    async def main() -> None:
        source = FakeSource()
        app = Top(source)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await script(pilot, app, source)

    asyncio.run(main())


def column(app: Top, table: str, number: int) -> list[str]:
    found = app.query_one(f"#{table}-table", DataTable)
    return [str(found.get_row_at(index)[number]) for index in range(found.row_count)]


async def settled(pilot: Pilot[None], app: Top) -> None:
    await app.workers.wait_for_complete()
    await pilot.pause()


def test_nodes_queues_and_tasks_are_shown() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        assert column(app, "nodes", 0) == ["web1@shop", "web2@shop"]
        assert column(app, "queues", 4) == ["", "no consumer"]
        assert column(app, "tasks", 1) == ["broken", "add", "mail.send"]
        await pilot.press("3")
        assert app.query_one(TabbedContent).active == "tasks"

    drive(script)


def test_keys_grow_and_shrink_the_chosen_node() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("down", "plus")
        await settled(pilot, app)
        await pilot.press("minus")
        await settled(pilot, app)
        assert source.told == [("pool_grow", {"n": 1}, "web2@shop"), ("pool_shrink", {"n": 1}, "web2@shop")]
        assert str(app.query_one("#said", Static).render()) == "pool_shrink done"

    drive(script)


def test_a_key_pauses_a_queue_and_resumes_it() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("2", "down", "p")
        await settled(pilot, app)
        source.paused = True
        app.refresh_rows()
        await pilot.press("p")
        await settled(pilot, app)
        assert source.told == [("pause", {"queue": "lo"}, None), ("resume", {"queue": "lo"}, None)]

    drive(script)


def test_a_task_is_revoked_and_one_that_runs_is_ended() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("3", "r")
        await settled(pilot, app)
        await pilot.press("down", "down", "r")
        await settled(pilot, app)
        assert source.told == [
            ("revoke", {"task_id": ["id-2"], "terminate": False}, None),
            ("revoke", {"task_id": ["id-0"], "terminate": True}, None),
        ]

    drive(script)


def test_a_rate_limit_is_asked_for_and_escape_gives_it_up() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("3", "l")
        await pilot.press("escape")
        await pilot.press("l")
        await pilot.press("5", "slash", "m", "enter")
        await settled(pilot, app)
        assert source.told == [("rate_limit", {"task_name": "broken", "rate_limit": "5/m"}, None)]

    drive(script)


def test_search_shows_the_tasks_that_fit() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("slash")
        await pilot.pause()
        app.screen.query_one(Input).value = "mail"
        await pilot.press("enter")
        await pilot.pause()
        assert column(app, "tasks", 1) == ["mail.send"]

    drive(script)


def test_enter_shows_a_task_with_its_traceback_and_escape_goes_back() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("3", "enter")
        await pilot.pause()
        shown = str(app.screen.query_one("#detail", Static).render())
        assert "broken  id-2" in shown
        assert "Trace" in shown
        await pilot.press("escape")
        await pilot.pause()
        assert app.query_one(TabbedContent).active == "tasks"

    drive(script)


def test_the_chosen_row_stays_chosen_when_rows_are_refreshed() -> None:
    async def script(pilot: Pilot[None], app: Top, source: FakeSource) -> None:
        await pilot.press("3", "down")
        app.refresh_rows()
        await pilot.pause()
        assert app.query_one("#tasks-table", DataTable).cursor_row == 1

    drive(script)


def test_a_detail_tells_the_task_in_the_order_of_its_events() -> None:
    (task,) = tasks().find("id-1")

    lines = detail(task_row(task)).splitlines()

    assert lines[0] == "add  id-1"
    assert "result  3" in lines


def test_rates_are_differences_over_time() -> None:
    rates = Rates()

    assert [rates.rate("a", 10, 0.0), rates.rate("a", 20, 2.0), rates.rate("a", 20, 2.0)] == [0.0, 5.0, 0.0]


ACTIVE = {"web1@shop": [{"id": "1", "name": "mail.send", "args": "(1,)", "kwargs": "{}", "time_start": 1000.0}]}


def test_a_task_that_began_before_anybody_listened_is_shown_until_it_is_over() -> None:
    cluster, running = Cluster(), Running()

    running.fold(cluster, ACTIVE)
    assert [(task.name, task.state, task.node) for task in cluster.find()] == [("mail.send", "STARTED", "web1@shop")]
    for _ in range(PATIENCE):
        running.fold(cluster, {})
    assert "1" in cluster.tasks
    running.fold(cluster, {})

    assert not cluster.tasks


def test_such_a_task_has_its_name_when_its_end_is_heard_of() -> None:
    cluster, running = Cluster(), Running()

    running.fold(cluster, ACTIVE)
    cluster.take({"type": "task-succeeded", "uuid": "1", "hostname": "web1@shop", "timestamp": 1001.0, "result": "3"})
    for _ in range(PATIENCE + 1):
        running.fold(cluster, {})

    assert [(task.name, task.state) for task in cluster.find()] == [("mail.send", "SUCCESS")]


def test_a_node_that_cannot_say_what_it_executes_changes_nothing() -> None:
    cluster = Cluster()

    Running().fold(cluster, {"web1@shop": {"error": "no"}})

    assert not cluster.tasks
