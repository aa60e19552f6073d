"""Nursery: the process that imported the app, and how the processes that execute come from it."""

import selectors
from typing import Protocol

from amqtask.embedded import embed
from amqtask.exits import FAILED
from amqtask.worker.board import Board
from amqtask.worker.pipe import Note, Pipe
from amqtask.worker.plan import Order, Plan
from amqtask.worker.process import Egg, Process, launch

FRESH_POOLS = ("gevent", "eventlet")
"""Pools whose processes are patched before anything is imported: each is a fresh interpreter, not a fork."""

END_AFTER = 5.0
"""Seconds that the process may take to end once its pipe is closed."""


class Parent(Protocol):
    """Who hears of a nursery: the supervisor."""

    def loaded(self, nursery: "Nursery", plan: Plan) -> None:
        """The app is imported."""

    def not_loaded(self, nursery: "Nursery", text: str, code: int) -> None:
        """It cannot be imported, or the configuration is wrong."""

    def exited(self, pid: int, status: int) -> None:
        """A process that was forked here is gone; a negative status is the signal that killed it."""

    def lost(self, nursery: "Nursery") -> None:
        """The nursery itself is gone, and with it the parent of its processes."""


class Nursery:
    """Imports the app in a process of its own, then starts others: forked from it, or fresh where they must be."""

    def __init__(self, order: Order, selector: selectors.BaseSelector, parent: Parent, egg: Egg | None = None) -> None:
        """`egg` is its process, where that was started already."""
        self._order = order
        self._selector = selector
        self._parent = parent
        self._plan: Plan | None = None
        self._egg = egg or launch(order)
        self._offspring, self._pipe = self._egg.offspring, self._egg.pipe
        self._closed = False
        self._forked: dict[int, Process] = {}
        selector.register(self._pipe, selectors.EVENT_READ, self._says)

    def start(self, index: int, note: Note) -> Process:
        """Start a process that runs a node; `note` is what it is told."""
        plan = self._plan
        assert plan is not None, "the app is loaded"
        board = Board.create(plan.slots)
        if plan.pool in FRESH_POOLS:
            egg = launch(Order.from_json({**self._order.to_json(), "patch": plan.pool}))
            process = Process(index, egg.pipe, board, egg.offspring)
            process.pending = note
            return process
        pipe, theirs = Pipe.pair()
        process = Process(index, pipe, board)
        self._forked[process.number] = process
        self._pipe.send({"do": "fork", "number": process.number, **note}, [theirs.fileno(), board.descriptor])
        theirs.close()
        return process

    def close(self) -> None:
        """Have it end; processes that it forked go on, but nobody hears of their end any more."""
        if self._closed:
            return
        self._closed = True
        if self._pipe in self._selector.get_map():
            self._selector.unregister(self._pipe)
        self._pipe.close()

    def wait(self) -> None:
        """Wait for its end, and help if it takes too long."""
        if self._offspring.wait(END_AFTER) is None:
            self._offspring.kill()
            self._offspring.wait()

    def _says(self) -> None:
        for note in self._pipe.ready():
            if note is None:
                self._gone()
                return
            self._hear(note)

    def _hear(self, note: Note) -> None:
        match note["is"]:
            case "hello":
                if self._egg.reader is not None:
                    self._egg.reader.wait()
                self._plan = Plan.from_json(note["plan"])
                if self._plan.pool not in FRESH_POOLS:
                    self._pipe.send({"do": "serve"})
                self._parent.loaded(self, self._plan)
            case "needs-broker":
                self._pipe.send({"do": "broker", "url": embed()})
            case "failed":
                self._selector.unregister(self._pipe)
                self._parent.not_loaded(self, note["text"], note["exit"])
            case "forked":
                process = self._forked.pop(note["number"], None)
                if process is not None:
                    process.pid = note["pid"]
            case "exited":
                self._parent.exited(note["pid"], note["status"])

    def _gone(self) -> None:
        if self._pipe in self._selector.get_map():
            self._selector.unregister(self._pipe)
        if self._plan is None:
            code = self._offspring.wait() or FAILED
            self._parent.not_loaded(
                self, "the process that loads the app ended before it said anything; see above", code
            )
        elif not self._closed and self._plan.pool not in FRESH_POOLS:
            self._parent.lost(self)
