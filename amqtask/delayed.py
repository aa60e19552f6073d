"""What waits for its time: the delay tree as a broker has it, seen by asking for its queues."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amqtask.core.declare import DeclareExchange, DeclareOp, DeclareQueue, Recipe
from amqtask.core.delay import DELIVER, LEVELS, LOST, Relay, latest_due, level_name, relay_recipe, tree
from amqtask.core.topology import DEFAULT_EXCHANGE
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import NotFound, PermissionDenied


@dataclass(frozen=True, slots=True)
class LevelState:
    """A level and how many messages wait in it; None where its queue is missing. `latest` is seconds from now."""

    level: int
    waiting: int | None
    latest: int


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay that stands: how many messages are ready in it, and what is missing behind it."""

    relay: Relay
    waiting: int
    missing: str = ""


@dataclass(frozen=True, slots=True)
class TreeState:
    """The tree. `lost` messages had a relay that somebody deleted; None: there is no tree."""

    levels: tuple[LevelState, ...]
    relays: tuple[RelayState, ...]
    lost: int | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the tree's parts that are not there."""
        gone = [level_name(state.level) for state in self.levels if state.waiting is None]
        return tuple(gone) if self.lost is not None else (*gone, LOST)

    @property
    def waiting(self) -> int:
        """How many messages wait in all levels."""
        return sum(state.waiting or 0 for state in self.levels)


def look(connection: Connection, relays: Iterable[Relay]) -> TreeState:
    """The tree and those of the relays that stand. Nothing is changed, and no message is touched."""
    levels = [LevelState(level, _depth(connection, level_name(level)), latest_due(level)) for level in range(LEVELS)]
    found = []
    for relay in dict.fromkeys(relays):
        waiting = _depth(connection, relay.queue)
        if waiting is not None:
            found.append(RelayState(relay, waiting, _missing(connection, relay)))
    lost = _depth(connection, LOST) if is_there(connection) else None
    return TreeState(tuple(levels), tuple(found), lost)


def is_there(connection: Connection) -> bool:
    """Whether the virtual host has a tree."""
    return _exists(connection, DeclareExchange(name=DELIVER, passive=True))


def declare(connection: Connection, relays: Sequence[Relay]) -> None:
    """Declare the tree, and the relays.

    Raises:
        PermissionDenied: and what to grant.
        PreconditionFailed: a part of it stands and is something else.
    """
    for recipe in (tree(), *(relay_recipe(relay) for relay in dict.fromkeys(relays))):
        _perform(connection, recipe)


def _perform(connection: Connection, recipe: Recipe) -> None:
    channel = connection.channel(QuietSink(), confirms=False)
    try:
        for op in recipe.ops:
            channel.declare(op)
    except PermissionDenied as error:
        raise PermissionDenied(f"{error}; {recipe.hint}", code=error.code, text=error.text) from None
    channel.close()


def _missing(connection: Connection, relay: Relay) -> str:
    op: DeclareOp
    if relay.exchange == DEFAULT_EXCHANGE:
        op, what = DeclareQueue(name=relay.routing_key, passive=True), f"queue {relay.routing_key!r}"
    else:
        op, what = DeclareExchange(name=relay.exchange, passive=True), f"exchange {relay.exchange!r}"
    return "" if _exists(connection, op) else what


def _depth(connection: Connection, queue: str) -> int | None:
    channel = connection.channel(QuietSink(), confirms=False)
    try:
        info = channel.declare(DeclareQueue(name=queue, passive=True))
    except NotFound:
        return None
    channel.close()
    return 0 if info is None else info.messages


def _exists(connection: Connection, op: DeclareOp) -> bool:
    channel = connection.channel(QuietSink(), confirms=False)
    try:
        channel.declare(op)
    except NotFound:
        return False
    channel.close()
    return True
