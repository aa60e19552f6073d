"""The adapter protocol: what a file in this folder offers to the harness.

A peer is one module here. It imports its framework at the top and defines

* ``DISTRIBUTIONS: tuple[str, ...]``: the packages whose versions are reported;
* ``VARIANTS: tuple[Variant, ...]``: the ways of running it, each named as the module, or that and a dash and more;
* ``client() -> Client``: publishes tasks, in a process of its own (``benchmarks.client``);
* whatever the framework's own worker command needs to find, usually an app or a broker at module level.

``Job.from_environment()`` says where to connect and which queue to use. The tasks are those of ``Task`` and do what
``benchmarks.work`` says. The harness itself never imports a peer: it asks ``benchmarks.describe``, in the interpreter
that runs the peers.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Feature(enum.StrEnum):
    """What a variant can be measured at."""

    CONSUME = "consume"
    FOOTPRINT = "footprint"  # starts and weighs otherwise than its siblings, so that it is worth measuring
    PUBLISH = "publish"
    QUORUM = "quorum"  # its queues can be quorum queues
    PAYLOAD = "payload"  # a task may carry data
    NAP = "nap"  # thousands of sleeping tasks in one process
    BURN = "burn"
    RESULTS = "results"
    CHORD = "chord"
    CHAIN = "chain"
    DELAY = "delay"


class Task(enum.StrEnum):
    """The tasks that every peer defines, by these names, on the job's queue."""

    NOOP = "noop"  # (index, payload="") leaves its mark
    NAP = "nap"  # (index, seconds) sleeps as the pool does it, then leaves its mark
    BURN = "burn"  # (index, seconds) uses that much CPU time, then leaves its mark
    ECHO = "echo"  # (value) returns it
    INCREMENT = "increment"  # (value) returns value + 1
    TOTAL = "total"  # (values) returns their sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a row's figures were bought with."""

    persistent: bool
    confirmed: bool
    mandatory: bool
    late_ack: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of the tables."""

    name: str
    #: The worker's command line, in which {python}, {bin} (the interpreter's folder), {queue}, {processes}, {in_flight}
    #: and {number} (of the command, from 0) are filled in. It runs in the checkout's root.
    worker: tuple[str, ...] = ()
    #: The command makes one process, so as many are started as the job has processes.
    one_process_each: bool = False
    #: Variables that the framework reads from its environment, filled in as the command line is.
    environment: dict[str, str] = field(default_factory=dict)
    guarantees: Guarantees
    features: frozenset[Feature]
    #: For the reader: every setting that is not the framework's default, and why where it is not plain.
    settings: str
    #: What it leaves on the broker, to be deleted after each sample; {queue} is filled in.
    queues: tuple[str, ...] = ("{queue}",)
    exchanges: tuple[str, ...] = ()
    #: For the adapter's own use.
    options: dict[str, Any] = field(default_factory=dict)


Call = tuple[Any, ...]


class Client(Protocol):
    """What every peer's client can do. Calls are the positional arguments of one task each."""

    def declare(self) -> None:
        """Connect, and make the queue exist."""

    def send_each(self, task: str, calls: Sequence[Call]) -> None:
        """One after the other, each call returning before the next begins."""

    def send_bulk(self, task: str, calls: Sequence[Call]) -> None:
        """As fast as the framework's documentation knows how."""

    def flush(self) -> None:
        """Return when the broker has taken all that was sent, say after a synchronous method on the same channel."""

    def close(self) -> None: ...


class ResultClient(Client, Protocol):
    """Of variants with RESULTS."""

    def round_trip(self, value: int) -> int:
        """Send ``echo`` and wait for its result."""

    def fan_out(self, values: Sequence[int]) -> list[int]:
        """Send one ``echo`` each, then collect all results."""


class CanvasClient(ResultClient, Protocol):
    """Of variants with CHORD or CHAIN."""

    def chord(self, values: Sequence[int]) -> int:
        """``echo`` of each, then ``total`` of the results."""

    def chain(self, length: int) -> int:
        """``increment`` of 0, of the result of that, and so on; the last result."""


class DelayClient(Client, Protocol):
    """Of variants with DELAY."""

    def send_delayed(self, task: str, calls: Sequence[Call], due: float) -> None:
        """To be run at that instant (seconds since the epoch)."""
