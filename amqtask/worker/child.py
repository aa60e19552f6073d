"""A worker's process: it loads the app, says hello, and then runs a node itself or forks processes that do."""

import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import threading
from types import FrameType

from amqtask.app import App
from amqtask.core.message import Json
from amqtask.errors import AmqtaskError, BrokerError, ChannelClosed, ConnectionFailed
from amqtask.executors import load_executor
from amqtask.exits import exit_code
from amqtask.log import event, get_logger, set_up
from amqtask.publisher import HOPELESS
from amqtask.results import load_backend
from amqtask.session import explain as explain_broker
from amqtask.worker.answers import answer
from amqtask.worker.board import Board
from amqtask.worker.life import Life, Member, call, worker_info
from amqtask.worker.node import Node
from amqtask.worker.options import Listener
from amqtask.worker.pipe import Note, Pipe
from amqtask.worker.plan import Order, Plan
from amqtask.worker.prepare import explain, node_options, prepare
from amqtask.worker.reader import Reader

logger = get_logger("worker")

PATCHED = ("gevent", "eventlet")
"""Pools whose processes are not forked: each is patched before it imports anything."""

CLOSING_TIME = 10.0
"""Seconds for the last confirms and acknowledgements of a process that stops."""
GIVING_UP_TIME = 2.0
"""Seconds for the results of tasks that run still when it must stop, and cannot go back to their queues."""


def main(descriptor: int, reader: Reader) -> int:
    """Run a process whose pipe is this socket; its exit code. `reader` reads the configuration."""
    pipe = Pipe(socket.socket(fileno=descriptor))
    note = pipe.receive()
    if note is None:
        return 1
    try:
        order = Order.from_json(note["order"])
        app, plan = prepare(order, reader, lambda: _ask_for_broker(pipe))
        # With a pool whose processes must be patched, this one only finds out what to start.
        if order.patch or plan.pool not in PATCHED:
            # What is imported before processes are forked is shared by them.
            load_executor(executor_name(app, plan))
            load_backend(app.config.results.backend)
            call(app.on.worker_init, worker_info(app, plan))
    except AmqtaskError as error:
        text, code = explain(error)
        pipe.send({"is": "failed", "text": text, "exit": code})
        return code
    pipe.send({"is": "hello", "plan": plan.to_json()})
    while (note := pipe.receive()) is not None:
        if note["do"] == "run":
            return Child(app, plan, pipe, note, Board(pipe.take_descriptors(1)[0], plan.slots)).run()
        if note["do"] == "serve":
            return Zygote(app, plan, pipe).serve()
    return 0


def _ask_for_broker(pipe: Pipe) -> str:
    """The URL of the embedded broker: it lives with the supervisor, which outlives this process."""
    pipe.send({"is": "needs-broker"})
    answer = pipe.receive()
    if answer is None:
        raise ConnectionFailed("the supervisor is gone")
    return str(answer["url"])


class Zygote:
    """A process that has imported the app and forks others: they start fast and share its memory."""

    def __init__(self, app: App, plan: Plan, pipe: Pipe) -> None:
        self._app = app
        self._plan = plan
        self._pipe = pipe

    def serve(self) -> int:
        """Fork when asked to, and report whoever ends, until the supervisor is gone."""
        quiet_signals()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGCHLD, _nothing)
        # What is there now is never collected, so that collections in the children do not copy its pages.
        gc.collect()
        gc.freeze()
        notes: list[Note | None] = list(self._pipe.buffered())
        while True:
            for note in notes:
                if note is None:
                    return 0
                if note["do"] == "fork" and self._fork(note, (reader, writer)):
                    return self._forked(note)
            readable, _, _ = select.select([self._pipe.fileno(), reader], [], [])
            if reader in readable:
                os.read(reader, 4096)
                self._reap()
            notes = list(self._pipe.ready()) if self._pipe.fileno() in readable else []

    def _fork(self, note: Note, mine: tuple[int, int]) -> bool:
        """Fork; True in the new process."""
        self._descriptors = self._pipe.take_descriptors(2)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            # Also those of processes that are forked next: an end that is held here never looks closed.
            for descriptor in (*mine, *self._pipe.take_descriptors(sys.maxsize)):
                os.close(descriptor)
            self._pipe.close()
            return True
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._pipe.send({"is": "forked", "number": note["number"], "pid": pid})
        return False

    def _forked(self, note: Note) -> int:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pipe_descriptor, board_descriptor = self._descriptors
        pipe = Pipe(socket.socket(fileno=pipe_descriptor))
        return Child(self._app, self._plan, pipe, note, Board(board_descriptor, self._plan.slots)).run()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._pipe.send({"is": "exited", "pid": pid, "status": os.waitstatus_to_exitcode(status)})


class Child:
    """A process that executes: a node, and the thread that listens to the supervisor."""

    def __init__(self, app: App, plan: Plan, pipe: Pipe, note: Note, board: Board) -> None:
        self._app = app
        self._plan = plan
        self._pipe = pipe
        self._board = board
        self._index: int = note["index"]
        self._orders: list[Note] = note.get("orders", [])
        self._options = node_options(plan, app.config, note.get("crashes", {}), note.get("era", ""))
        self._exit = 0

    def run(self) -> int:
        """Run the node until the supervisor says stop, or is gone."""
        quiet_signals()
        set_up(self._plan.log_level, self._plan.log_format)
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
        executor = load_executor(executor_name(self._app, self._plan))(self._plan.slots)
        listener = Listener(
            ready=self._ready,
            connect_failed=self._connect_failed,
            worn_out=lambda: self._tell({"is": "worn"}),
            doomed=self._die,
            tell=self._tell,
        )
        self._executor = executor
        self._node = Node(self._app, self._options, executor, self._board, listener)
        self._node.steering.begin(self._orders, self._tell, events=self._app.config.events.enabled)
        self._life = Life(self._app, Member(worker_info(self._app, self._plan), self._index, self._node))
        try:
            self._life.begin()
        except AmqtaskError as error:
            text, code = explain(error)
            self._tell({"is": "failed", "text": text, "exit": code})
            return code
        link = threading.Thread(target=self._listen, name="amqtask-link", daemon=True)
        self._node.start()
        link.start()
        executor.run()
        self._life.end()
        self._node.close(CLOSING_TIME)
        self._app.close(CLOSING_TIME)
        self._tell({"is": "bye"})
        return self._exit

    def _listen(self) -> None:
        while (note := self._pipe.receive()) is not None:
            try:
                if self._obey(note):
                    return
            except Exception:
                # One bad note must not leave a process that nobody can stop.
                logger.exception("cannot do what the supervisor said: %r", note, extra=event("note-failed"))
        # The supervisor is gone; nobody would restart or stop this process.
        logger.error("the supervisor is gone; stopping", extra=event("supervisor-gone"))
        self._stop(self._plan.shutdown_timeout)

    def _obey(self, note: Note) -> bool:
        """Do what a note says; True if it was the last."""
        match note["do"]:
            case "stop":
                self._stop(note["timeout"])
                return True
            case "crashed":
                self._node.note_crashes(note["crashes"])
            case "adopt":
                self._node.early.adopt(note["task"])
            case "order":
                self._node.steering.obey(note["method"], note["arguments"])
            case "grant":
                self._node.steering.grant(note["task"])
            case "ask":
                self._tell({"is": "answer", "ticket": note["ticket"], "value": self._answer(note)})
            case unknown:
                raise ValueError(f"unknown note {unknown!r}")
        return False

    def _answer(self, note: Note) -> Json:
        try:
            if note["question"] == "custom":
                wanted = note["arguments"]
                return {"value": self._app.commands.run(wanted["name"], wanted["arguments"])}
            return answer(self._node, note["question"], note["arguments"])
        except Exception as error:
            logger.exception("cannot answer %r", note["question"], extra=event("answer-failed"))
            return {"error": f"{type(error).__name__}: {error}"}

    def _stop(self, timeout: float) -> None:
        self._node.drain()
        self._life.shutting_down()
        if not self._node.wait_drained(timeout):
            unfinished = self._node.give_up()
            if unfinished:
                logger.warning(
                    "%d tasks are not done after %g s; they go back to their queues",
                    unfinished,
                    timeout,
                    extra=event("given-up"),
                )
            self._node.wait_drained(GIVING_UP_TIME)
            self._node.close(CLOSING_TIME)
            self._tell({"is": "bye"})
            # User code still runs on the main thread; nothing but the end of the process stops it.
            os._exit(0)
        self._executor.stop()

    def _ready(self) -> None:
        self._tell({"is": "ready"})
        self._executor.call(self._life.ready)

    def _connect_failed(self, error: BrokerError, tries: int) -> None:
        hopeless = isinstance(error, (*HOPELESS, ChannelClosed))
        unreachable = isinstance(error, ConnectionFailed) and not hopeless
        self._tell(
            {
                "is": "connect-failed",
                "text": explain_broker(error),
                "hopeless": hopeless,
                "unreachable": unreachable,
                "exit": exit_code(error),
            }
        )

    def _die(self) -> None:
        self._tell({"is": "doomed"})
        os.kill(os.getpid(), signal.SIGKILL)

    def _tell(self, note: Note) -> None:
        self._pipe.send(note)


def executor_name(app: App, plan: Plan) -> str:
    """The executor of the plan's pool."""
    return "uvloop" if app.config.worker.uvloop else plan.pool


def quiet_signals() -> None:
    """The terminal and systemd signal the whole group; what to do about it is the supervisor's word alone.

    Handlers that do nothing, not SIG_IGN: programs that tasks start would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _nothing)


def _nothing(signum: int, frame: FrameType | None) -> None:
    """Leave it to the supervisor."""
