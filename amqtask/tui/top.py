"""Top: a live view of nodes, queues and tasks in the terminal."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Label, Static, TabbedContent, TabPane

from amqtask.tui.source import Snapshot, Source, TaskRow

REFRESH = 0.5
TABS = ("nodes", "queues", "tasks")
COLUMNS = {
    "nodes": ("node", "state", "procs", "active", "held", "done", "rate/s", "load", "uptime", "version"),
    "queues": ("queue", "ready", "change/s", "consumers", "state"),
    "tasks": ("state", "task", "id", "node", "at", "args", "result"),
}
ACTS_ON = {"revoke": "tasks", "limit": "tasks", "pause": "queues", "grow": "nodes", "shrink": "nodes"}
"""The table on whose rows a key acts; elsewhere it is not shown, for eighty columns hold so many only."""


class Ask(ModalScreen[str | None]):
    """One line to type; Escape gives nothing."""

    CSS = "Ask { align: center middle; } Ask > * { width: 60; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question = question
        self._value = value

    def compose(self) -> ComposeResult:
        yield Label(self._question)
        yield Input(value=self._value, id="answer")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        self.dismiss(None)


class Detail(ModalScreen[None]):
    """A task: arguments, timeline, result, traceback."""

    CSS = "Detail { background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "close", "Close")]

    def __init__(self, task: TaskRow) -> None:
        super().__init__()
        self._shown = task

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(detail(self._shown), markup=False, id="detail")
        yield Footer()

    def action_close(self) -> None:
        self.dismiss(None)


class Top(App[None]):
    """The view. Numbers change twice a second; keys act on the row that is chosen."""

    TITLE = "amqtask top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
        #said { height: 1; color: $accent; }
        #error { height: 1; color: $error; }
        TabbedContent { height: 1fr; }
        TabPane { padding: 0; }
        DataTable { height: 1fr; }
        """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('nodes')", "Nodes"),
        Binding("2", "tab('queues')", "Queues"),
        Binding("3", "tab('tasks')", "Tasks"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("r", "revoke", "Revoke"),
        Binding("l", "limit", "Limit"),
        Binding("p", "pause", "Pause"),
        Binding("plus", "grow", "Grow", key_display="+"),
        Binding("minus", "shrink", "Shrink", key_display="-"),
        Binding("q", "quit", "Quit"),
    ]

    _main: Screen[Any]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._seen = Snapshot()
        self._search = ""
        self._tab = TABS[0]

    def compose(self) -> ComposeResult:
        yield Static("", id="error", markup=False)
        with TabbedContent(initial="nodes"):
            for name in TABS:
                with TabPane(name.capitalize(), id=name):
                    yield DataTable(id=f"{name}-table", cursor_type="row", zebra_stripes=True)
        yield Static("", id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        # Below the screens that ask and show details, while those are open.
        self._main = self.screen
        for name in TABS:
            self._table(name).add_columns(*COLUMNS[name])
        self.refresh_rows()
        self.set_interval(REFRESH, self.refresh_rows)
        self._table("nodes").focus()

    def refresh_rows(self) -> None:
        """Show what the source knows now."""
        if not self._main.query("#error"):
            return  # it is closing
        self._seen = seen = self._source.snapshot()
        self._line("error").update(seen.error)
        self._fill("nodes", ((node.name, node_cells(node)) for node in seen.nodes))
        self._fill("queues", ((queue.name, queue_cells(queue)) for queue in seen.queues))
        found = [task for task in seen.tasks if self._search in task.id or self._search in task.name]
        self._fill("tasks", ((task.id, task_cells(task)) for task in found))

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key is of use now."""
        return ACTS_ON.get(action, self._tab) == self._tab

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        self._tab = event.pane.id or TABS[0]
        self.refresh_bindings()

    def action_tab(self, name: str) -> None:
        """Show another table."""
        self._main.query_one(TabbedContent).active = name
        self._table(name).focus()

    def action_search(self) -> None:
        """Show the tasks that a text fits."""

        def searched(text: str | None) -> None:
            if text is not None:
                self._search = text
                self._line("said").update(f"tasks whose name or id holds {text!r}; / and nothing: all" if text else "")
                self.action_tab("tasks")
                self.refresh_rows()

        self.push_screen(Ask("Tasks whose name or id holds:", self._search), searched)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        task = self._chosen()
        if task is not None:
            self.push_screen(Detail(task))

    def action_revoke(self) -> None:
        """Revoke the chosen task; one that runs is ended."""
        task = self._chosen()
        if task is not None:
            self._command("revoke", {"task_id": [task.id], "terminate": task.state == "STARTED"})

    def action_limit(self) -> None:
        """Set the rate limit of the chosen task's kind."""
        task = self._chosen()
        if task is None:
            return
        name = task.name

        def answered(rate: str | None) -> None:
            if rate:
                self._command("rate_limit", {"task_name": name, "rate_limit": rate})

        self.push_screen(Ask(f"Rate limit of {name} (10/s, 200/m, 0 for none):"), answered)

    def action_pause(self) -> None:
        """Pause the chosen queue on all nodes, or resume it."""
        key = self._key("queues")
        queue = next((queue for queue in self._seen.queues if queue.name == key), None)
        if queue is not None:
            self._command("resume" if queue.paused else "pause", {"queue": queue.name})

    def action_grow(self) -> None:
        """One process more on the chosen node."""
        self._resize("pool_grow")

    def action_shrink(self) -> None:
        """One process less on the chosen node."""
        self._resize("pool_shrink")

    def _resize(self, method: str) -> None:
        node = self._key("nodes")
        if node is not None:
            self._command(method, {"n": 1}, node)

    def _command(self, method: str, arguments: dict[str, Any], node: str | None = None) -> None:
        def work() -> None:
            said = self._source.command(method, arguments, node)
            self.call_from_thread(self._line("said").update, said)

        self.run_worker(work, thread=True)

    # Tables

    def _table(self, name: str) -> "DataTable[str]":
        return self._main.query_one(f"#{name}-table", DataTable)

    def _line(self, name: str) -> Static:
        return self._main.query_one(f"#{name}", Static)

    def _key(self, name: str) -> str | None:
        table = self._table(name)
        if not table.row_count or not table.is_valid_coordinate(table.cursor_coordinate):
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    def _chosen(self) -> TaskRow | None:
        if self._tab != "tasks":
            return None
        key = self._key("tasks")
        return next((task for task in self._seen.tasks if task.id == key), None)

    def _fill(self, name: str, rows: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """Show these rows; the chosen one stays chosen, wherever it is now."""
        table, chosen = self._table(name), self._key(name)
        wanted = list(rows)
        place = table.scroll_offset
        table.clear()
        for key, cells in wanted:
            table.add_row(*cells, key=key)
        keys = [key for key, _ in wanted]
        if chosen in keys:
            table.move_cursor(row=keys.index(chosen), scroll=False)
        table.scroll_to(place.x, place.y, animate=False)


def node_cells(node: Any) -> tuple[str, ...]:
    """A node's row."""
    return (
        node.name,
        node.state,
        str(node.processes),
        str(node.active),
        str(node.reserved),
        str(node.processed),
        f"{node.rate:.1f}",
        f"{node.load:.2f}",
        str(timedelta(seconds=node.uptime)),
        node.version,
    )


def queue_cells(queue: Any) -> tuple[str, ...]:
    """A queue's row."""
    ready = "-" if queue.ready is None else str(queue.ready)
    consumers = "-" if queue.consumers is None else str(queue.consumers)
    state = "paused" if queue.paused else "no consumer" if queue.consumers == 0 else ""
    return (queue.name, ready, f"{queue.rate:+.1f}", consumers, state)


def task_cells(task: TaskRow) -> tuple[str, ...]:
    """A task's row."""
    return (
        task.state,
        task.name,
        task.id[:8],
        task.node,
        _clock(task.changed),
        _cut(task.args + ("" if task.kwargs in ("", "{}") else f" {task.kwargs}"), 24),
        _cut(task.result, 24),
    )


def detail(task: TaskRow) -> str:
    """All that is known of a task."""
    lines = [
        f"{task.name}  {task.id}",
        f"{task.state}  {task.node}",
        "",
        f"args    {task.args}",
        f"kwargs  {task.kwargs}",
    ]
    if task.result:
        lines.append(f"result  {task.result}")
    lines += ["", *(f"{_clock(at)}  {kind}" for kind, at in sorted(task.times.items(), key=lambda item: item[1]))]
    if task.traceback:
        lines += ["", task.traceback.rstrip()]
    return "\n".join(lines)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S") if at else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
