"""Process: the supervisor's end of one worker process, however it was started."""

import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amqtask.worker.board import Board, Running
from amqtask.worker.offspring import Offspring
from amqtask.worker.pipe import Note, Pipe
from amqtask.worker.plan import Order
from amqtask.worker.reader import Reader

BOOTSTRAP = str(Path(__file__).with_name("bootstrap.py"))


@dataclass(frozen=True, slots=True)
class Egg:
    """A process that loads the app, and the pipe to it; `reader` reads for it, and is to be waited for then."""

    offspring: Offspring
    pipe: Pipe
    reader: Reader | None = None


def launch(order: Order) -> Egg:
    """Start a fresh interpreter that loads the app and says hello over the pipe."""
    pipe, theirs = Pipe.pair()
    environment = dict(os.environ)
    # The script's own folder must not be on the path, and this very package must be found wherever it is.
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    # glibc gives each thread an arena of its own, which never shrinks: 3 to 5 MB in a process of three threads. The
    # interpreter lock lets one of them allocate at a time anyway.
    environment.setdefault("MALLOC_ARENA_MAX", "1")
    # All other descriptors close by themselves when another program is executed.
    theirs.set_inheritable(True)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", BOOTSTRAP, str(theirs.fileno()), order.patch],
        environment,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
    )
    theirs.close()
    pipe.send({"do": "load", "order": order.to_json()})
    return Egg(Offspring(pid), pipe)


_numbers = itertools.count(1)


class Process:
    """A process that executes, as its supervisor sees it. `number` is its own, `index` its place among the node's."""

    def __init__(self, index: int, pipe: Pipe, board: Board, offspring: Offspring | None = None) -> None:
        self.number = next(_numbers)
        self.index = index
        self.pipe = pipe
        self.board = board
        self.offspring = offspring
        self.pid = offspring.pid if offspring is not None else 0
        """0 until the zygote has said it."""
        self.started = 0.0
        self.ready = False
        self.stopping = False
        self.doomed = False
        """It said that it is going to be ended on purpose: by a hard limit."""
        self.pending: Note = {}
        """What a fresh process is told once it said hello."""
        self.replaces: Process | None = None
        self.exit_status: int | None = None

    def send(self, note: Note, *descriptors: int) -> bool:
        """Send it a note, with file descriptors where it needs some; False when it is gone."""
        return self.pipe.send(note, descriptors)

    def stop(self, timeout: float) -> None:
        """Have it finish what runs, for so many seconds, and end."""
        self.stopping = True
        self.send({"do": "stop", "timeout": timeout})

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it is still there."""
        if self.pid and self.exit_status is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def running(self) -> list[Running]:
        """What it executes now, or executed when it died."""
        return self.board.running()

    def close(self) -> None:
        """Let go of its pipe and board."""
        self.pipe.close()
        self.board.close()


def run_note(index: int, crashes: Mapping[str, int], orders: Sequence[Note] = (), era: str = "") -> Note:
    """What a process is told when it is to run a node; `orders` are those of remote control that hold."""
    return {"index": index, "crashes": dict(crashes), "orders": list(orders), "era": era}
