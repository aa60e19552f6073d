"""Delays kept by the broker: a binary tree of queues with a time to live, and a relay queue for each destination.

Level n is a topic exchange and a queue whose messages expire after 2ⁿ seconds into level n-1; the routing key holds the
delay in binary, so a message visits exactly the levels of its set bits. Behind level 0 the key's last word names a
relay: a queue with a time to live of nothing that dead-letters to one exchange with one routing key. A destination
that is full or gone stalls its own relay only, because at-least-once dead-lettering stops a whole source queue after
32 messages that no queue takes (RabbitMQ, "Quorum Queues", dead lettering). For the same reason the exchange before the
relays has an alternate: what waits for a relay that somebody deleted ends in the queue LOST, and stalls no level.
"""

import hashlib
from dataclasses import dataclass, replace

from amqtask.core.declare import BindExchange, BindQueue, DeclareExchange, DeclareOp, DeclareQueue, Recipe
from amqtask.core.queue_arguments import NO_DELIVERY_LIMIT

LEVELS = 28
LONGEST = 2**LEVELS - 1
"""The longest delay: 268,435,455 seconds, about eight and a half years."""

PREFIX = "aqt.delay"
DELIVER = f"{PREFIX}.deliver"
LOST = f"{PREFIX}.lost"
RELAY_PREFIX = "aqt.relay"

HINT = (
    "delayed messages need the queues and exchanges aqt.delay.* and a queue aqt.relay.* for each destination: grant"
    " configure, write and read on ^aqt\\.(delay|relay)\\., or have a user who has that run `amqtask delayed --declare`"
    " and write broker.declare: verify here"
)
"""What to do where the broker refuses to declare them, or where they are missing and must not be declared."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a delayed message goes at last: an exchange and a routing key."""

    exchange: str
    routing_key: str

    @property
    def word(self) -> str:
        """The relay's word in the routing keys of the tree. A digest: a key may be as long as the 255 bytes allow."""
        digest = hashlib.blake2b(digest_size=12)
        digest.update(self.exchange.encode())
        digest.update(b"\0")
        digest.update(self.routing_key.encode())
        return digest.hexdigest()

    @property
    def queue(self) -> str:
        """The name of the relay's queue."""
        return f"{RELAY_PREFIX}.{self.word}"


def level_name(level: int) -> str:
    """The name of a level's exchange and of its queue."""
    return f"{PREFIX}.{level:02d}"


def tree() -> Recipe:
    """What declares the tree, in order. Idempotent; shared by all apps of a virtual host."""
    ops: list[DeclareOp] = [
        DeclareExchange(name=LOST, type="fanout"),
        # No limit of deliveries: looking at it must not throw away what is in it.
        DeclareQueue(name=LOST, arguments={"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT}),
        BindQueue(queue=LOST, exchange=LOST),
        DeclareExchange(name=DELIVER, type="topic", arguments={"alternate-exchange": LOST}),
    ]
    for level in range(LEVELS):
        name = level_name(level)
        below = level_name(level - 1) if level else DELIVER
        skipped = "*." * (LEVELS - 1 - level)
        ops += [
            DeclareExchange(name=name, type="topic"),
            DeclareQueue(
                name=name,
                arguments={
                    "x-queue-type": "quorum",
                    "x-message-ttl": 2**level * 1000,
                    "x-overflow": "reject-publish",
                    "x-dead-letter-strategy": "at-least-once",
                    "x-dead-letter-exchange": below,
                },
            ),
            BindQueue(queue=name, exchange=name, routing_key=f"{skipped}1.#"),
            BindExchange(destination=below, source=name, routing_key=f"{skipped}0.#"),
        ]
    return Recipe(PREFIX, tuple(ops), HINT)


def relay_recipe(relay: Relay) -> Recipe:
    """What declares a relay behind the tree."""
    ops: tuple[DeclareOp, ...] = (
        DeclareQueue(
            name=relay.queue,
            arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": 0,
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
                "x-dead-letter-exchange": relay.exchange,
                "x-dead-letter-routing-key": relay.routing_key,
            },
        ),
        # Stars, not "#": a topic binding "#.word" would also take keys whose destination merely ends so.
        BindQueue(queue=relay.queue, exchange=DELIVER, routing_key="*." * LEVELS + relay.word),
    )
    return Recipe(relay.queue, ops, HINT)


def entry(seconds: int, relay: Relay) -> tuple[str, str]:
    """The exchange and routing key with which a message enters the tree, to arrive in so many whole seconds (1 to
    LONGEST).

    Raises:
        ValueError: the delay is longer than the tree is deep, or shorter than a second.
    """
    if not 1 <= seconds <= LONGEST:
        raise ValueError(f"a delay is between 1 s and {LONGEST} s, not {seconds} s")
    bits = ".".join(f"{seconds:0{LEVELS}b}")
    return level_name(seconds.bit_length() - 1), f"{bits}.{relay.word}"


def verified(recipe: Recipe) -> Recipe:
    """The recipe that asks whether the same exchanges and queues are there, and declares nothing."""
    ops: list[DeclareOp] = []
    for op in recipe.ops:
        if isinstance(op, DeclareExchange):
            ops.append(replace(op, passive=True, arguments={}))
        elif isinstance(op, DeclareQueue):
            ops.append(DeclareQueue(name=op.name, passive=True))
    return Recipe(f"{recipe.name}?", tuple(ops), recipe.hint)


def latest_due(level: int) -> int:
    """After how many seconds at the latest a message that waits in this level reaches its relay."""
    return int(2 ** (level + 1)) - 1


def visited(seconds: int) -> tuple[int, ...]:
    """The levels whose queues a message of this delay waits in, from the first to the last."""
    return tuple(level for level in reversed(range(LEVELS)) if seconds >> level & 1)
