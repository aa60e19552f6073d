"""What a backend is made from: the settings of the section `results`, and what of the app a backend may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from amqtask.clock import Clock, SystemClock
from amqtask.core.backoff import Backoff
from amqtask.publisher import Publisher
from amqtask.results.base import ResultBackend
from amqtask.results.codec import ResultCodec
from amqtask.session import SessionOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSetup:
    """Times are seconds, `keep` is bytes; a backend reads what concerns it.

    `session` and `publisher` are for backends on RabbitMQ: how to connect, and the process's publisher, which is
    called for when the first result is stored.
    """

    url: str | None = None
    expires: float | None = 86400.0
    prefix: str = ""
    codec: ResultCodec = field(default_factory=ResultCodec)
    retry_for: float = 60.0
    """How long a report is tried to be stored before it is given up."""
    backoff: Backoff = field(default_factory=lambda: Backoff(initial=0.1, maximum=5.0))
    connect_timeout: float = 10.0
    """How long a caller waits for a store that does not answer."""
    poll_interval: float = 0.5
    """The longest pause between two looks at a store that cannot push."""
    persistent: bool = False
    keep: int = 64 * 2**20
    """rpc: how many bytes of results that nobody has asked for yet are kept in memory."""
    reply_expires: float = 1800.0
    """rpc: how long the reply queue waits for its client to come back."""
    session: SessionOptions | None = None
    publisher: Callable[[], Publisher] | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the store's own client."""
    clock: Clock = field(default_factory=SystemClock)


Factory: TypeAlias = Callable[[BackendSetup], ResultBackend]
