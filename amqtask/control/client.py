"""The client: commands to nodes as methods, for callers that wait and for callers that await."""

import asyncio
import concurrent.futures
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast

from amqtask.control.mailbox import Answers, Mailbox, OnAnswer
from amqtask.control.protocol import Command
from amqtask.core.message import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Which nodes are meant, and how long to wait for them.

    `limit` is how many answers are expected: the call returns as soon as they are there.
    """

    destination: tuple[str, ...] = ()
    pattern: str | None = None
    matcher: Literal["glob", "pcre"] = "glob"
    timeout: float | None = None
    limit: int | None = None


class Caller(Generic[T]):
    """Sends commands in one way: `T` is the answers, or something to await."""

    def __init__(
        self,
        mailbox: Callable[[], Mailbox],
        aim: Aim,
        default_timeout: float,
        take: "Callable[[concurrent.futures.Future[Answers]], T]",
    ) -> None:
        self._mailbox = mailbox
        self._aim = aim
        self._default_timeout = default_timeout
        self._take = take

    def call(
        self,
        method: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        reply: bool = True,
        on_answer: OnAnswer | None = None,
    ) -> T:
        """Send any command."""
        mailbox, aim = self._mailbox(), self._aim
        command = Command(
            method=method,
            arguments=arguments or {},
            destination=aim.destination,
            pattern=aim.pattern,
            matcher=aim.matcher if aim.pattern else None,
            ticket=str(uuid.uuid4()) if reply else None,
            reply_to=mailbox.reply_to() if reply else None,
        )
        limit = aim.limit if aim.limit is not None else len(aim.destination) or None
        timeout = self._default_timeout if aim.timeout is None else aim.timeout
        return self._take(mailbox.call(command, timeout=timeout, limit=limit, on_answer=on_answer))


class Inspect(Caller[T]):
    """Looks at nodes. Each method gives what every node answered, by its name; nobody answered: nothing."""

    def ping(self) -> T:
        """Whether they are there."""
        return self.call("ping")

    def active(self, *, safe: bool = False) -> T:
        """What they execute."""
        return self.call("active", {"safe": safe})

    def reserved(self) -> T:
        """What came to them and waits for a slot."""
        return self.call("reserved")

    def scheduled(self) -> T:
        """What came to them and waits for its time."""
        return self.call("scheduled")

    def revoked(self) -> T:
        """The ids that they will not start."""
        return self.call("revoked")

    def registered(self, *taskinfoitems: str) -> T:
        """The tasks that they know."""
        return self.call("registered", {"taskinfoitems": list(taskinfoitems)})

    registered_tasks = registered

    def active_queues(self) -> T:
        """The queues that they consume."""
        return self.call("active_queues")

    def stats(self) -> T:
        """Their numbers."""
        return self.call("stats")

    def conf(self, *, with_defaults: bool = False) -> T:
        """Their configuration, secrets masked."""
        return self.call("conf", {"with_defaults": with_defaults})

    def report(self) -> T:
        """Versions and settings."""
        return self.call("report")

    def query_task(self, *ids: str) -> T:
        """Where tasks are."""
        return self.call("query_task", {"ids": list(ids)})

    def clock(self) -> T:
        """Their logical clocks."""
        return self.call("clock")

    def memsample(self) -> T:
        """Their memory, as text."""
        return self.call("memsample")

    def memdump(self, samples: int = 10) -> T:
        """The last samples of their memory, as text."""
        return self.call("memdump", {"samples": samples})

    def objgraph(self, type: str = "Request", *, num: int = 200, max_depth: int = 10) -> T:  # noqa: A002 - Celery's name
        """Have one of their processes draw what holds objects of a type; the file's name. Takes its time."""
        return self.call("objgraph", {"type": type, "num": num, "max_depth": max_depth})

    def memory(self) -> T:
        """Bytes of memory by process."""
        return self.call("memory")

    def processes(self) -> T:
        """Each of their processes."""
        return self.call("processes")

    def orders(self) -> T:
        """What was set on them and holds."""
        return self.call("orders")


class Control(Caller[T]):
    """Changes nodes. `destination` and the like narrow a call; see `to`."""

    def to(
        self,
        *destination: str,
        pattern: str | None = None,
        matcher: Literal["glob", "pcre"] = "glob",
        timeout: float | None = None,
        limit: int | None = None,
    ) -> "Control[T]":
        """The same for these nodes only, or those that the pattern fits."""
        aim = Aim(destination=destination, pattern=pattern, matcher=matcher, timeout=timeout, limit=limit)
        return type(self)(self._mailbox, aim, self._default_timeout, self._take)

    def inspect(
        self,
        destination: Iterable[str] = (),
        *,
        pattern: str | None = None,
        matcher: Literal["glob", "pcre"] = "glob",
        timeout: float | None = None,
        limit: int | None = None,
    ) -> Inspect[T]:
        """Looks at all nodes, or at those of `destination` or `pattern`."""
        names = (destination,) if isinstance(destination, str) else tuple(destination)
        aim = Aim(destination=names, pattern=pattern, matcher=matcher, timeout=timeout, limit=limit)
        return Inspect(self._mailbox, aim, self._default_timeout, self._take)

    def broadcast(self, method: str, arguments: Mapping[str, Json] | None = None, *, reply: bool = False) -> T:
        """Send any command; without `reply` nothing is waited for."""
        return self.call(method, arguments, reply=reply)

    def ping(self) -> T:
        """Whether nodes are there."""
        return self.call("ping")

    def revoke(self, *ids: str, terminate: bool = False, signal: str = "SIGTERM", reply: bool = False) -> T:
        """Have tasks not started; `terminate` ends those that run."""
        return self.call("revoke", {"task_id": list(ids), "terminate": terminate, "signal": signal}, reply=reply)

    def terminate(self, *ids: str, signal: str = "SIGTERM", reply: bool = False) -> T:
        """Revoke tasks and end those that run."""
        return self.revoke(*ids, terminate=True, signal=signal, reply=reply)

    def revoke_root(self, *roots: str, terminate: bool = False, signal: str = "SIGTERM", reply: bool = False) -> T:
        """Have no task started whose workflow has one of these roots; `terminate` ends those that run.

        A chain's root is its first task, that of a group its own id; errbacks are called all the same.
        """
        arguments: dict[str, Json] = {"root_id": list(roots), "terminate": terminate, "signal": signal}
        return self.call("revoke_root", arguments, reply=reply)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Json], *, terminate: bool = False, signal: str = "SIGTERM", reply: bool = False
    ) -> T:
        """Revoke the tasks that carry these stamps."""
        arguments: dict[str, Json] = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self.call("revoke_by_stamped_headers", arguments, reply=reply)

    def rate_limit(self, task: str, rate: str | int | float, *, persist: bool = False) -> T:
        """The most starts of a task in each node: `10/s`, `200/m`, `5/h`; 0 for no limit."""
        return self.call("rate_limit", _lasting({"task_name": task, "rate_limit": rate}, persist))

    def time_limit(
        self, task: str, *, soft: float | None = None, hard: float | None = None, persist: bool = False
    ) -> T:
        """A task's limits in seconds, for runs that start from now on."""
        return self.call("time_limit", _lasting({"task_name": task, "soft": soft, "hard": hard}, persist))

    def add_consumer(
        self,
        queue: str,
        *,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        persist: bool = False,
    ) -> T:
        """Consume one more queue; with an exchange or a key it is declared where it is missing."""
        arguments: dict[str, Json] = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
        }
        return self.call("add_consumer", _lasting(arguments, persist))

    def cancel_consumer(self, queue: str, *, persist: bool = False) -> T:
        """Consume a queue no more."""
        return self.call("cancel_consumer", _lasting({"queue": queue}, persist))

    def pause(self, queue: str) -> T:
        """Take nothing from a queue until `resume`; nodes that start later know of it."""
        return self.call("pause", {"queue": queue})

    def resume(self, queue: str) -> T:
        """Take from a paused queue again."""
        return self.call("resume", {"queue": queue})

    def pool_grow(self, n: int = 1) -> T:
        """Start more processes."""
        return self.call("pool_grow", {"n": n})

    def pool_shrink(self, n: int = 1) -> T:
        """Stop processes, each when it is done."""
        return self.call("pool_shrink", {"n": n})

    def pool_restart(self) -> T:
        """Replace all processes, each when it is done."""
        return self.call("pool_restart")

    def autoscale(self, most: int, fewest: int) -> T:
        """Keep the number of processes between two bounds."""
        return self.call("autoscale", {"max": most, "min": fewest})

    def enable_events(self) -> T:
        """Have events of tasks sent."""
        return self.call("enable_events")

    def disable_events(self) -> T:
        """Have no events of tasks sent."""
        return self.call("disable_events")

    def heartbeat(self) -> T:
        """Have a sign of life sent now."""
        return self.call("heartbeat", reply=False)

    def shutdown(self) -> T:
        """Have nodes finish what runs, and end."""
        return self.call("shutdown", reply=False)

    def forget(self, key: str) -> T:
        """Take away what was set under a key of `inspect().orders()`."""
        return self.call("forget", {"key": key})


class AppControl(Control[Answers]):
    """`app.control`: calls wait for the answers. `ainspect` and `asynchronously` give the same to await."""

    def __init__(
        self, make: Callable[[], Mailbox], default_timeout: float, purge: Callable[[tuple[str, ...]], int]
    ) -> None:
        """`purge` throws away what waits in these queues, or in all of the app; it gives the number of messages."""
        self._made: Mailbox | None = None
        self._make = make
        self._purge = purge
        self._making = threading.Lock()
        super().__init__(self.mailbox, Aim(), default_timeout, lambda future: future.result())

    def to(self, *destination: str, **narrow: Any) -> Control[Answers]:
        """The same for these nodes only, or those that the pattern fits."""
        return Control(self.mailbox, Aim(destination=destination, **narrow), self._default_timeout, self._take)

    @property
    def asynchronously(self) -> Control[Awaitable[Answers]]:
        """The same methods, each to be awaited."""
        return Control(self.mailbox, Aim(), self._default_timeout, _awaitable)

    def ainspect(self, destination: Iterable[str] = (), **narrow: Any) -> Inspect[Awaitable[Answers]]:
        """`inspect` whose methods are to be awaited."""
        return self.asynchronously.inspect(destination, **narrow)

    def purge(self, *queues: str) -> int:
        """Throw away what waits in these queues, or in all work queues of the configuration; how many messages went.

        Those that a worker holds stay, and so do delayed ones. The broker does it at once, and no node is asked.

        Raises:
            UnknownQueue: the configuration has no such queue.
            BrokerError: the broker cannot be reached, or refuses it.
        """
        return self._purge(queues)

    discard_all = purge

    def mailbox(self) -> Mailbox:
        """Where answers come; connects at the first call."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """Close the connection."""
        if self._made is not None:
            self._made.close()


def _awaitable(future: "concurrent.futures.Future[Answers]") -> Awaitable[Answers]:
    return cast("Awaitable[Answers]", asyncio.wrap_future(future))


def _lasting(arguments: dict[str, Json], persist: bool) -> dict[str, Json]:
    # Left out where it is not wanted: Celery's workers do not know it.
    return {**arguments, "persist": True} if persist else arguments
