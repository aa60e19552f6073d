"""Supervisor: starts, watches, replaces and stops the processes of a node. No user code, and no talk to a broker.

Signals are put into a queue; one loop acts on them, on what the processes say, and on what is due.
"""

import collections
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType

from amqtask.exits import OK, SOFTWARE, UNAVAILABLE
from amqtask.log import event, get_logger, set_up
from amqtask.worker.budget import RestartBudget
from amqtask.worker.crashes import Crashes
from amqtask.worker.crew import Front, NoSteward, Steward
from amqtask.worker.nursery import Nursery
from amqtask.worker.orphans import Orphans
from amqtask.worker.pipe import Note
from amqtask.worker.plan import Order, Plan
from amqtask.worker.process import Egg, Process, run_note
from amqtask.worker.wakeup import Wakeup

logger = get_logger("worker")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)

COMPLAIN_EVERY = 5.0
"""Seconds between two log lines that say the same of the broker."""
KILL_AFTER = 5.0
"""Seconds after its own deadline that a process which does not end is killed."""


class Supervisor:
    """One node's processes. `run` is the program; `plan` is there once the app was loaded."""

    def __init__(self, order: Order, front: Front, steward: Steward | None = None, egg: Egg | None = None) -> None:
        """`egg` is the first nursery's process, where there is one already (`amqtask.worker.hatch`)."""
        self._egg = egg
        self._steward = steward or NoSteward()
        self._order = order
        self._front = front
        self._selector = selectors.DefaultSelector()
        self._signals: collections.deque[int] = collections.deque()
        self._processes: dict[int, Process] = {}
        self._leaving: list[Process] = []
        self._crashes = Crashes()
        self._orphans = Orphans()
        self._wakeup = Wakeup()
        self._budget = RestartBudget()
        self._restarts: list[tuple[float, int, Process | None]] = []
        self._nursery: Nursery | None = None
        self._next_nursery: Nursery | None = None
        self._old_nurseries: list[Nursery] = []
        self._to_replace: collections.deque[int] = collections.deque()
        self._complaint = ("", 0.0)
        self._unreachable, self._unreachable_exit = "", UNAVAILABLE
        self._was_ready = False
        self._stopping = False
        self._orphaned = False
        self._kill_due: float | None = None
        self._started = 0.0
        self._exit = OK
        self._notes: dict[str, Callable[[Process, Note], None]] = {
            "ready": self._on_ready,
            "connect-failed": self._on_connect_failed,
            "worn": self._on_worn,
            "doomed": self._on_doomed,
            "early": self._orphans.began,
            "early-over": self._orphans.over,
            "bye": lambda process, note: None,
        }
        self.plan: Plan | None = None

    def run(self) -> int:
        """Run the node until it is stopped; the program's exit code."""
        self._selector.register(self._wakeup.reader, selectors.EVENT_READ, self._wakeup.read)
        try:
            with self._wakeup.signals(SIGNALS, self._on_signal):
                self._nursery = self._next_nursery = Nursery(self._order, self._selector, self, self._egg)
                while not (self._stopping and not self._processes and not self._leaving):
                    self._turn()
                return self._exit
        finally:
            self._steward.end()
            self._end_everything()
            self._orphans.end()
            self._wakeup.close()
            self._selector.close()

    # The nursery's words

    def loaded(self, nursery: Nursery, plan: Plan) -> None:
        """The app was imported: start the processes, or replace those that run older code, one by one."""
        first = self.plan is None
        self.plan = plan
        self._next_nursery = None
        set_up(plan.log_level, plan.log_format)
        if first:
            self._front.banner(plan, os.getpid())
        for warning in plan.warnings:
            logger.warning("%s", warning, extra=event("warning"))
        if first:
            self._steward.begin(plan, self, self._start_all)
            return
        if self._nursery is not None:
            self._old_nurseries.append(self._nursery)
        self._nursery = nursery
        self._front.reloaded(plan)
        logger.info("loaded anew; replacing %d processes one by one", len(self._processes), extra=event("reloading"))
        self._to_replace = collections.deque(sorted(self._processes))
        self._replace_next()

    def not_loaded(self, nursery: Nursery, text: str, code: int) -> None:
        """The app cannot be imported. At the start that is the end; later what runs goes on."""
        self._next_nursery = None
        if self.plan is not None:
            logger.error("not loaded anew, the old code goes on: %s", text, extra=event("reload-failed"))
            self._old_nurseries.append(nursery)
            return
        self._exit = code
        self._stopping = True
        self._front.failed(text)

    def exited(self, pid: int, status: int) -> None:
        """A process that was forked is gone."""
        for process in [*self._processes.values(), *self._leaving]:
            if process.pid == pid and process.exit_status is None:
                process.exit_status = status
                self._on_end(process, status)
                return

    def lost(self, nursery: Nursery) -> None:
        """Nobody can be forked any more, and nobody says who ends."""
        if self._stopping or nursery is not self._nursery:
            return
        logger.critical("the process that forks the others is gone; stopping", extra=event("zygote-gone"))
        self._exit = SOFTWARE
        self._orphaned = True
        self._stop(5.0)

    # Processes

    def _start_all(self) -> None:
        assert self.plan is not None, "the app is loaded"
        self._started = time.monotonic()
        for index in range(0 if self._stopping else self.plan.processes):
            self._start(index)

    def _start(self, index: int, replaces: Process | None = None) -> None:
        assert self._nursery is not None, "the app is loaded"
        note = run_note(index, self._crashes.counts, self._steward.orders(), self._crashes.era)
        process = self._nursery.start(index, note)
        process.started = time.monotonic()
        process.replaces = replaces
        self._processes[index] = process
        self._selector.register(process.pipe, selectors.EVENT_READ, lambda: self._process_says(process))

    def _renew(self, process: Process) -> None:
        """Start another in its place; it stops once the new one is ready."""
        self._leaving.append(process)
        self._start(process.index, replaces=process)

    def _replace_next(self) -> None:
        """Renew the next process after a reload; with the last one the old nurseries have nothing left to do."""
        while self._to_replace:
            process = self._processes.get(self._to_replace.popleft())
            if process is not None and not process.stopping:
                self._renew(process)
                return

    def _process_says(self, process: Process) -> None:
        for note in process.pipe.ready():
            if note is None:
                self._selector.unregister(process.pipe)
                if self._orphaned or (self._stopping and process.pid == 0):
                    self._forget(process)  # nobody is left to say how it ended, or it was never born
                return
            self._hear(process, note)

    def _hear(self, process: Process, note: Note) -> None:
        if note["is"] == "hello":
            process.send({"do": "run", **process.pending}, process.board.descriptor)
        elif note["is"] == "failed":
            self._exit = note["exit"]
            self._front.failed(note["text"])
            self._stop(0.0)
        elif note["is"] in self._notes:
            self._notes[note["is"]](process, note)
        else:
            self._steward.heard(process, note)

    def _on_ready(self, process: Process, note: Note) -> None:
        if process.ready:
            logger.info("process %d is connected again", process.pid, extra=event("reconnected", pid=process.pid))
            return
        process.ready = True
        self._orphans.adopt(process)
        self._unreachable = ""
        old = process.replaces
        if old is not None and self.plan is not None:
            process.replaces = None
            old.stop(self.plan.shutdown_timeout)
            self._replace_next()
        if not self._was_ready and all(other.ready for other in self._processes.values()):
            self._was_ready = True
            assert self.plan is not None, "processes run"
            self._front.ready(self.plan)

    def _on_connect_failed(self, process: Process, note: Note) -> None:
        self._complain(note["text"])
        if self._was_ready or process.ready:
            return  # it tries again by itself, for ever
        if note["hopeless"]:
            self._exit = note["exit"]
            if not self._stopping:
                self._front.failed(note["text"])
            self._stop(0.0)
        else:
            self._unreachable, self._unreachable_exit = note["text"], note["exit"]

    def _complain(self, text: str) -> None:
        """One log line for all processes that cannot connect for the same reason."""
        now = time.monotonic()
        last_text, last_time = self._complaint
        if text != last_text or now - last_time > COMPLAIN_EVERY:
            self._complaint = (text, now)
            logger.warning("%s; trying again", text, extra=event("connect-failed"))

    def _on_worn(self, process: Process, note: Note) -> None:
        """It executed as many tasks as it should: the new one is started before the old one stops."""
        if not self._stopping and not process.stopping:
            self._renew(process)

    def _on_doomed(self, process: Process, note: Note) -> None:
        process.doomed = True

    # The end of processes

    def _on_end(self, process: Process, status: int) -> None:
        for note in process.pipe.rest():
            self._hear(process, note)
        crashed = status != 0 and not process.doomed
        if crashed and not self._stopping:
            self._crashes.add(process, status, list(self._processes.values()))
        self._forget(process)
        self._orphans.left(process, self._processes.values())
        if self._stopping or process in self._leaving or process.stopping:
            return
        self._replace(process, at_once=process.doomed or status == 0)

    def _forget(self, process: Process) -> None:
        if self._processes.get(process.index) is process:
            del self._processes[process.index]
        if process in self._leaving:
            self._leaving.remove(process)
        if process.pipe in self._selector.get_map():
            self._selector.unregister(process.pipe)
        self._steward.gone(process)
        process.close()
        if self._old_nurseries and not self._leaving and not self._to_replace:
            for nursery in self._old_nurseries:
                nursery.close()

    def _replace(self, process: Process, *, at_once: bool) -> None:
        assert self.plan is not None, "processes run"
        now = time.monotonic()
        if at_once:
            self._start(process.index, process.replaces)
            return
        wait = self._budget.died(self.plan, now)
        if wait is None:
            self._front.failed(
                f"more than {self.plan.restart_budget} processes died within {self.plan.restart_window:g} s; giving up"
                " (worker.restart.budget)"
            )
            self._exit = SOFTWARE
            self._stop(self.plan.shutdown_timeout)
            return
        self._restarts.append((now + wait, process.index, process.replaces))

    # The steward's wishes

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have `call` made in this loop. From any thread."""
        self._wakeup.call_soon(call)

    def processes(self) -> Sequence[Process]:
        """The processes that execute, in the order of their places."""
        return [self._processes[index] for index in sorted(self._processes)]

    def resize(self, wanted: int) -> None:
        """Have so many processes; those that are too many finish what they run."""
        assert self.plan is not None, "processes run"
        if self._stopping:
            return
        for index in [index for index in sorted(self._processes, reverse=True) if index >= wanted]:
            process = self._processes.pop(index)
            self._leaving.append(process)
            process.stop(self.plan.shutdown_timeout)
        self._restarts = [item for item in self._restarts if item[1] < wanted]
        waiting = {index for _, index, _ in self._restarts}
        for index in range(wanted):
            if index not in self._processes and index not in waiting:
                self._start(index)

    def renew_all(self) -> None:
        """Replace all processes, one by one."""
        self._to_replace = collections.deque(sorted(self._processes))
        self._replace_next()

    def finish(self) -> None:
        """Finish what runs, and end."""
        if self.plan is not None and not self._stopping:
            self._stop(self.plan.shutdown_timeout)

    # The loop

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            key.data()
        while self._signals:
            self._handle_signal(self._signals.popleft())
        self._wakeup.run()
        for process in [*self._processes.values(), *self._leaving]:
            status = process.offspring.poll() if process.offspring is not None else None
            if status is not None and process.exit_status is None:
                process.exit_status = status
                self._on_end(process, status)
        now = time.monotonic()
        for item in [item for item in self._restarts if item[0] <= now]:
            self._restarts.remove(item)
            if not self._stopping:
                self._start(item[1], item[2])
        plan = self.plan
        if plan and self._unreachable and not self._was_ready and now - self._started >= plan.start_timeout:
            self._front.failed(f"{self._unreachable} (tried for {plan.start_timeout:g} s)")
            self._exit = self._unreachable_exit
            self._unreachable = ""
            self._stop(0.0)
        if self._kill_due is not None and now >= self._kill_due:
            self._kill_due = None
            for process in [*self._processes.values(), *self._leaving]:
                logger.error("process %d does not end; killing it", process.pid, extra=event("killed", pid=process.pid))
                process.kill()

    def _patience(self) -> float | None:
        due = [when for when, _, _ in self._restarts]
        due.append(self._steward.turn(time.monotonic()))
        if self._kill_due is not None:
            due.append(self._kill_due)
        if self.plan and self._unreachable and not self._was_ready:
            due.append(self._started + self.plan.start_timeout)
        first = min(due)
        return None if first == float("inf") else max(0.0, first - time.monotonic())

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._signals.append(signum)

    def _handle_signal(self, signum: int) -> None:
        timeout = self.plan.shutdown_timeout if self.plan is not None else 0.0
        if signum == signal.SIGUSR1:
            for process in self._processes.values():
                process.kill(signal.SIGUSR1)
        elif signum in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
            logger.info(
                "%s: finishing what runs (at most %g s); once more to stop now",
                signal.Signals(signum).name,
                timeout,
                extra=event("stopping"),
            )
            self._stop(timeout)
        elif signum == signal.SIGHUP:
            if not self._stopping and self._next_nursery is None:
                logger.info("SIGHUP: loading the app anew", extra=event("reload"))
                self._next_nursery = Nursery(self._order, self._selector, self)
        else:
            logger.warning("%s: stopping now", signal.Signals(signum).name, extra=event("stopping-now"))
            self._stop(0.0)

    def _stop(self, timeout: float) -> None:
        self._stopping = True
        self._restarts.clear()
        self._to_replace.clear()
        self._kill_due = time.monotonic() + timeout + KILL_AFTER
        for process in [*self._processes.values(), *self._leaving]:
            process.stop(timeout)

    def _end_everything(self) -> None:
        for process in [*self._processes.values(), *self._leaving]:
            process.kill()
            process.close()
        started = (self._nursery, self._next_nursery, *self._old_nurseries)
        nurseries = {nursery for nursery in started if nursery is not None}
        for nursery in nurseries:
            nursery.close()
        for nursery in nurseries:
            nursery.wait()
