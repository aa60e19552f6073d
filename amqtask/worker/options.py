"""What a node is told when it is made, and who hears of its life."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amqtask.errors import BrokerError
from amqtask.worker.flow import FlowOptions
from amqtask.worker.pipe import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a node's process is told: its node's name, its queues with their weights, and what is known of crashes."""

    name: str
    queues: Mapping[str, int]
    strict: bool = False
    flow: FlowOptions = field(default_factory=FlowOptions)
    first_window: int = 4
    """Deliveries for each slot while nothing is known of a queue's tasks."""
    consumer_timeout: float = 1800.0
    max_crashes: int = 3
    max_tasks: int | None = None
    max_memory: int | None = None
    ack_batch: int = 50
    ack_delay: float = 0.05
    crashes: Mapping[str, int] = field(default_factory=dict)
    era: str = ""  # of the supervisor that counts the crashes

    @property
    def is_ordered(self) -> bool:
        """Whether some queues go before others."""
        return self.strict or len(set(self.queues.values())) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of the node's life; called from its I/O thread."""

    ready: Callable[[], None] = lambda: None
    connect_failed: Callable[[BrokerError, int], None] = lambda error, tries: None
    worn_out: Callable[[], None] = lambda: None
    """It ran `max_tasks` tasks; it goes on until it is stopped."""
    doomed: Callable[[], None] = lambda: None
    """A hard limit was reached and settled; the process must end now."""
    tell: Callable[[Note], None] | None = None
    """Says something to the supervisor, where the node has one. From any thread."""
