"""Putting a topology on a broker, and saying of each object what was done and what was there already."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from amqtask.core.declare import BindExchange, BindQueue, DeclareExchange, DeclareOp, DeclareQueue
from amqtask.core.inequivalence import parse_inequivalence
from amqtask.core.message import Delivery, Envelope
from amqtask.core.topology import Topology, declare_ops
from amqtask.drivers.base import Connection
from amqtask.errors import BrokerError, NotFound, PreconditionFailed


class Done(Enum):
    """What became of an object."""

    CREATED = "created"
    STOOD = "stood already"
    BOUND = "bound"
    DIFFERS = "differs"
    MISSING = "missing"
    WOULD_CREATE = "would be created"
    LEFT_OUT = "left out"


FAILURES = (Done.DIFFERS, Done.MISSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One object and what became of it; `detail` explains a failure."""

    kind: str
    name: str
    done: Done
    detail: str = ""


def provision(connection: Connection, topology: Topology, *, dry_run: bool = False) -> Iterator[Step]:
    """Declare and bind everything; what stands already and is the same stays as it is.

    An object that differs from what is wanted does not keep the others from being declared. With `dry_run` nothing is
    changed, and nothing is known of differences.

    Raises:
        BrokerError: the connection was lost, or the broker refused something for another reason (a permission).
    """
    missing: set[str] = set()
    for op in declare_ops(topology, "always"):
        if isinstance(op, (DeclareExchange, DeclareQueue)):
            step = _declare(connection, op, dry_run=dry_run)
            if step.done in (Done.MISSING, Done.WOULD_CREATE):
                missing.add(_key(step.kind, step.name))
            yield step
        elif isinstance(op, (BindQueue, BindExchange)) and not dry_run:
            yield _bind(connection, op, missing)
    for queue in topology.queues.values():
        if queue.exclusive:
            detail = "an exclusive queue is declared by the connection that uses it"
            yield Step(kind="queue", name=queue.name, done=Done.LEFT_OUT, detail=detail)


def _key(kind: str, name: str) -> str:
    return f"{kind} {name}"


def _declare(connection: Connection, op: DeclareExchange | DeclareQueue, *, dry_run: bool) -> Step:
    kind = "exchange" if isinstance(op, DeclareExchange) else "queue"
    stood = _exists(connection, op)
    if op.passive:
        detail = "" if stood else "it is declared elsewhere (declare: verify), and it is not there"
        return Step(kind=kind, name=op.name, done=Done.STOOD if stood else Done.MISSING, detail=detail)
    if dry_run:
        return Step(kind=kind, name=op.name, done=Done.STOOD if stood else Done.WOULD_CREATE)
    try:
        _ask(connection, op)
    except PreconditionFailed as error:
        difference = parse_inequivalence(error.text)
        return Step(kind=kind, name=op.name, done=Done.DIFFERS, detail=str(difference) if difference else error.text)
    return Step(kind=kind, name=op.name, done=Done.STOOD if stood else Done.CREATED)


def _exists(connection: Connection, op: DeclareExchange | DeclareQueue) -> bool:
    passive: DeclareOp
    if isinstance(op, DeclareExchange):
        passive = DeclareExchange(name=op.name, type=op.type, passive=True)
    else:
        passive = DeclareQueue(name=op.name, passive=True)
    try:
        _ask(connection, passive)
    except NotFound:
        return False
    return True


def _bind(connection: Connection, op: BindQueue | BindExchange, missing: set[str]) -> Step:
    source = op.exchange if isinstance(op, BindQueue) else op.source
    target = op.queue if isinstance(op, BindQueue) else op.destination
    kind = "queue" if isinstance(op, BindQueue) else "exchange"
    name = f"{source}[{op.routing_key}] -> {target}"
    lacking = [key for key in (_key("exchange", source), _key(kind, target)) if key in missing]
    if lacking:
        return Step(kind="binding", name=name, done=Done.MISSING, detail=f"{' and '.join(lacking)} not there")
    _ask(connection, op)
    return Step(kind="binding", name=name, done=Done.BOUND)


def _ask(connection: Connection, op: DeclareOp) -> None:
    """Ask on a channel of its own: the broker closes the channel on which it refuses something."""
    channel = connection.channel(_Silent(), confirms=False)
    channel.declare(op)
    channel.close()


class _Silent:
    """A channel's listener that has nothing to listen for: no consumer, no publish."""

    def delivered(self, delivery: Delivery) -> None:
        """Nothing is consumed here."""

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None:
        """Nothing is published here."""

    def cancelled(self, consumer_tag: str) -> None:
        """Nothing is consumed here."""

    def closed(self, error: BrokerError) -> None:
        """The next operation on the channel tells."""
