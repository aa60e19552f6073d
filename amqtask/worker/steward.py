"""Steward: controls a node from afar. It lives in the supervisor's loop; its agent's thread talks to the broker."""

import collections
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from amqtask.control.commands import Arguments, CommandFailed, Commands, ProcessAnswer
from amqtask.control.inspecting import INSPECT, from_json
from amqtask.control.protocol import Command
from amqtask.control.steering import CONTROL
from amqtask.core.message import Json
from amqtask.core.sharing import Claim
from amqtask.core.standing import Order, Standing, orders
from amqtask.core.topology import Topology
from amqtask.log import event, get_logger
from amqtask.worker import nodefacts
from amqtask.worker.asking import PATIENCE, Asking
from amqtask.worker.autoscale import Autoscaler
from amqtask.worker.briefing import Briefing
from amqtask.worker.crew import Crew
from amqtask.worker.pipe import Note
from amqtask.worker.plan import Plan
from amqtask.worker.process import Process
from amqtask.worker.queueform import queue_form
from amqtask.worker.rates import Rates

logger = get_logger("control")

NEVER = float("inf")
MOST_SAMPLES = 500
"""Samples of memory that are remembered."""
LOOK_EVERY = 1.0
"""Seconds between two looks of the autoscaler."""

Answer = Callable[[object], None]


class Agent(Protocol):
    """The thread that talks to the broker. Its methods are for the supervisor's thread."""

    def start(self) -> None:
        """Connect."""
        ...

    def clock(self) -> int:
        """The Lamport clock."""
        ...

    def consume(self, arguments: Arguments, then: Callable[[str | None], None]) -> None:
        """See that a queue is there; `then` is called on the agent's thread."""
        ...

    def keep(self, changes: Sequence[tuple[str, Order | None]], *, only_here: bool) -> None:
        """Write orders to the control log, for all nodes or this one; None takes one away."""
        ...

    def events(self, on: bool) -> None:
        """Send signs of life, or none."""
        ...

    def heartbeat(self) -> None:
        """Send one now."""
        ...

    def claim(self, task: str, claim: Claim) -> None:
        """Tell the keeper of a cluster's rate limit what is wanted here."""
        ...

    def stop(self) -> None:
        """Say that the node goes, and close the connection."""
        ...


class Listener(Protocol):
    """Who the agent reports to. All methods may be called from its thread."""

    def command(self, command: Command, answer: Answer) -> None:
        """A command for this node came."""
        ...

    def restored(self, kept: Sequence[tuple[str, Order | None]]) -> None:
        """The control log was read, or cannot be."""
        ...

    def load(self) -> tuple[int, int]:
        """(executing, processed)."""
        ...

    def granted(self, task: str, count: int) -> None:
        """The keeper of a cluster's rate limit grants starts."""
        ...


MakeAgent = Callable[[Plan, Briefing, Listener], Agent]


class NodeSteward:
    """What a node does for those who control it. Implements `crew.Steward`, `commands.NodeView` and `Listener`."""

    def __init__(self, make_agent: MakeAgent) -> None:
        self._make_agent = make_agent
        self._agent: Agent | None = None
        self._asking = Asking()
        self._rates = Rates(lambda task, claim: self._agent.claim(task, claim) if self._agent else None)
        self._standing = Standing()
        self._samples: collections.deque[tuple[float, int]] = collections.deque(maxlen=MOST_SAMPLES)
        self._begun = time.time()
        self._processed_before = 0
        self._autoscaler: Autoscaler | None = None
        self._look_due = NEVER
        self._then: Callable[[], None] | None = None
        self._narrow = False
        """The command that is carried out is for some nodes only."""
        self.name = ""

    _plan: Plan
    _crew: Crew
    _briefing: Briefing
    _commands: Commands

    # The supervisor's words

    def begin(self, plan: Plan, crew: Crew, then: Callable[[], None]) -> None:
        """The app was loaded: connect, read the control log, then have the processes started."""
        self._plan, self._crew = plan, crew
        self._briefing = Briefing.from_json(plan.agent)
        self.name = plan.node
        self._commands = Commands([*INSPECT, *CONTROL, *map(from_json, self._briefing.commands)])
        if plan.autoscale is not None:
            self._scale_between(*plan.autoscale)
        shares = any(task["rate_limit_scope"] == "cluster" for task in self._briefing.tasks.values())
        if not self._briefing.control and not self._briefing.events and not shares:
            then()
            return
        self._then = then
        self._agent = self._make_agent(plan, self._briefing, self)
        self._agent.start()

    def orders(self) -> list[Note]:
        """What a new process obeys from its start."""
        return [order.to_json() for _, order in self._standing.items(time.time())]

    def heard(self, process: Process, note: Note) -> None:
        """An answer, or the wish for a start of a rate-limited task."""
        match note["is"]:
            case "answer":
                self._asking.heard(process, note["ticket"], note["value"])
            case "want":
                self._rates.want(process, note["task"], note["rate"], shared=note["shared"])
            case "unused":
                self._rates.unused(note["task"])

    def gone(self, process: Process) -> None:
        """A process ended."""
        self._processed_before += process.board.counters()[0]
        self._asking.gone(process)
        self._rates.gone(process)

    def turn(self, now: float) -> float:
        """Answer what is late, grant starts, scale."""
        if self._autoscaler is not None and self._look_due <= now:
            self._look_due = now + LOOK_EVERY
            self._scale(self._autoscaler, now)
        return min(self._asking.turn(now), self._rates.turn(now), self._look_due)

    def end(self) -> None:
        """The program ends."""
        if self._agent is not None:
            self._agent.stop()

    # The agent's words, from its thread

    def command(self, command: Command, answer: Answer) -> None:
        """Carry a command out in the supervisor's loop."""
        self._crew.call_soon(lambda: self._carry_out(command, answer))

    def restored(self, kept: Sequence[tuple[str, Order | None]]) -> None:
        """What holds by the control log; the processes may start now."""
        self._crew.call_soon(lambda: self._restore(kept))

    def load(self) -> tuple[int, int]:
        """(executing, processed). Reads shared memory only."""
        processes = self._crew.processes()
        busy = sum(len(process.running()) for process in processes)
        return busy, self._processed_before + sum(process.board.counters()[0] for process in processes)

    def granted(self, task: str, count: int) -> None:
        """Starts of a task whose limit is the cluster's; handed on in the supervisor's loop."""
        self._crew.call_soon(lambda: self._rates.granted(task, count))

    def _carry_out(self, command: Command, answer: Answer) -> None:
        logger.debug("command %s", command.method, extra=event("command", method=command.method))
        self._narrow = bool(command.destination or command.pattern)
        try:
            self._commands.run(command.method, command.arguments, self, answer)
        except Exception as error:
            # A command must not end the node.
            logger.exception("cannot carry out %s", command.method, extra=event("command-failed"))
            answer({"error": f"{type(error).__name__}: {error}"})

    def _restore(self, kept: Sequence[tuple[str, Order | None]]) -> None:
        for key, order in kept:
            self._set(key, order)
            if self._then is None:
                # The processes run: it was read again after the connection was lost.
                if order is None:
                    self._tell_all("forget", {"key": key})
                else:
                    self._tell_all(order.method, order.arguments)
        then, self._then = self._then, None
        if then is not None:
            then()

    # What commands see (`NodeView`)

    def clock(self) -> int:
        return 0 if self._agent is None else self._agent.clock()

    def now(self) -> float:
        return time.time()

    def tasks(self) -> Mapping[str, Mapping[str, Json]]:
        return self._briefing.tasks

    def queues(self) -> Mapping[str, Mapping[str, Json]]:
        found = dict(self._briefing.queues)
        paused = set()
        for key, order in self._standing.items(time.time()):
            queue = key.partition(":")[2]
            if order.method == "cancel_consumer":
                found.pop(queue, None)
            elif order.method == "add_consumer":
                found.setdefault(queue, queue_form(Topology(), queue))
            elif order.method == "pause":
                paused.add(queue)
        return {name: {**form, "paused": name in paused} for name, form in found.items()}

    def fact(self, name: str) -> Json:
        return self._plan.pool if name == "pool" else self._briefing.fact(name)

    def stats(self) -> dict[str, Json]:
        return nodefacts.stats(
            self._plan,
            self._briefing,
            self._crew.processes(),
            load=self.load(),
            begun=self._begun,
            clock=self.clock(),
            scaler=self._autoscaler,
        )

    def processes(self) -> list[dict[str, Json]]:
        return [nodefacts.describe_process(process) for process in self._crew.processes()]

    def board(self, pid: int) -> list[dict[str, Json]]:
        return [
            item
            for process in self._crew.processes()
            if process.pid == pid
            for item in nodefacts.board(process, self.name)
        ]

    def ask(
        self,
        question: str,
        arguments: Arguments,
        then: Callable[[list[ProcessAnswer]], None],
        *,
        one: bool = False,
        patience: float | None = None,
    ) -> None:
        processes = self._crew.processes()
        if one:
            # One that is free, if there is any: it answers soonest.
            processes = sorted(processes, key=lambda process: (not process.ready, len(process.running())))[:1]
        self._asking.ask(processes, question, arguments, time.monotonic(), then, patience=patience or PATIENCE)

    def sample_memory(self) -> Sequence[tuple[float, int]]:
        sizes = (process["memory"] for process in self.processes())
        self._samples.append((time.time(), sum(size for size in sizes if isinstance(size, int))))
        return list(self._samples)

    def order(self, method: str, arguments: Arguments, *, keep: bool) -> None:
        changes = list(orders(method, arguments, time.time()))
        for key, order in changes:
            self._set(key, order)
        self._tell_all(method, arguments)
        if keep and self._agent is not None:
            self._agent.keep(changes, only_here=self._narrow)

    def forget(self, key: str) -> bool:
        if key not in dict(self._standing.items(time.time())):
            return False
        self._set(key, None)
        self._tell_all("forget", {"key": key})
        if self._agent is not None:
            self._agent.keep([(key, None)], only_here=self._narrow)
        return True

    def standing(self) -> Sequence[tuple[str, Order]]:
        return self._standing.items(time.time())

    def consume(self, arguments: Arguments, then: Callable[[str | None], None]) -> None:
        if arguments["queue"] in self._briefing.queues:
            then(None)
            return
        assert self._agent is not None, "a command came"
        narrow = self._narrow

        def looked(wrong: str | None) -> None:
            self._narrow = narrow
            then(wrong)

        self._agent.consume(arguments, lambda wrong: self._crew.call_soon(lambda: looked(wrong)))

    def act(self, action: str, arguments: Arguments) -> str:
        match action:
            case "pool_grow":
                return self._resize(_number(arguments["n"]), "grow")
            case "pool_shrink":
                return self._resize(-_number(arguments["n"]), "shrink")
            case "pool_restart":
                if arguments["reload"] or arguments["modules"]:
                    # As SIGHUP does it: the app is imported anew, and each process is replaced.
                    os.kill(os.getpid(), signal.SIGHUP)
                    return "reload started"
                self._crew.renew_all()
                return "restart started"
            case "autoscale":
                return self._scale_between(_number(arguments["min"]), _number(arguments["max"]))
            case "heartbeat":
                if self._agent is not None:
                    self._agent.heartbeat()
                return ""
            case "shutdown":
                logger.info("shutdown by remote control", extra=event("remote-shutdown"))
                self._crew.finish()
                return "shutting down"
        raise CommandFailed(f"the node cannot {action}")

    def _resize(self, by: int, verb: str) -> str:
        if self._autoscaler is not None:
            raise CommandFailed(f"the pool is autoscaled; it cannot {verb} by hand")
        if self._plan.pool == "solo":
            raise CommandFailed("a solo pool has one process")
        now = len(self._crew.processes())
        if now + by < 1:
            raise CommandFailed(f"{now} processes run; one must stay")
        self._crew.resize(now + by)
        return f"pool will {verb}"

    # Inside

    def _set(self, key: str, order: Order | None) -> None:
        self._standing.put(key, order)
        if key == "events" and self._agent is not None:
            self._agent.events(self._briefing.events if order is None else order.method == "enable_events")

    def _tell_all(self, method: str, arguments: Arguments) -> None:
        for process in self._crew.processes():
            process.send({"do": "order", "method": method, "arguments": dict(arguments)})

    def _scale_between(self, fewest: int, most: int) -> str:
        if not 1 <= max(1, fewest) <= most:
            raise CommandFailed(f"autoscale: min {fewest} and max {most} are no bounds")
        if self._plan.pool == "solo":
            raise CommandFailed("a solo pool has one process")
        self._autoscaler = Autoscaler(max(1, fewest), most)
        self._look_due = time.monotonic() + LOOK_EVERY
        return f"autoscale now max={most} min={max(1, fewest)}"

    def _scale(self, scaler: Autoscaler, now: float) -> None:
        processes = self._crew.processes()
        if not all(process.ready for process in processes):
            return
        slots = self._plan.slots
        busy = sum(len(process.running()) >= slots for process in processes)
        held = sum(process.board.counters()[1] for process in processes)
        running = sum(len(process.running()) for process in processes)
        wanted = scaler.wanted(now, processes=len(processes), busy=busy, waiting=max(0, held - running))
        if wanted != len(processes):
            logger.info("autoscale: %d processes, were %d", wanted, len(processes), extra=event("autoscale"))
            self._crew.resize(wanted)


def _number(value: Json) -> int:
    assert isinstance(value, int), "the command's parameters are typed"
    return value
