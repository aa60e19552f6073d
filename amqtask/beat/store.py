"""The port to where beat keeps its states and run-time edits, and the table of its kinds.

Laws, each a test in `tests/contract/test_beat_store.py`:

1. What was saved or edited is there for every store opened later, on whatever machine.
2. `take_over` gives a higher epoch each time; after it, nothing that is saved under an earlier one counts, and saving
   it raises Fenced.
3. Edits need no epoch, and those of several writers to one entry add up.
4. A process that is killed in the middle of any call leaves what was before, or what is after.
5. A store that holds a later version of the form than this program knows is neither read nor written.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from amqtask.beat.book import Book, Kept, Overlay
from amqtask.errors import ConfigError, ExtraMissing, Problem
from amqtask.session import SessionOptions

PATIENCE = 30.0
"""Seconds that a call may take before it fails."""


class Store(Protocol):
    """Where beat keeps its book. Used by one thread at a time; calls wait, and raise BeatStoreFailed."""

    def load(self) -> Book:
        """What is kept now."""
        ...

    def take_over(self) -> tuple[int, Book]:
        """Lead from now on: a new epoch, and what is kept. Raises Fenced when another one was quicker."""
        ...

    def save(self, epoch: int, states: Mapping[str, Kept | None]) -> None:
        """Keep these states; None forgets one. Raises Fenced."""
        ...

    def edit(self, name: str, patch: Overlay | None) -> None:
        """Lay a patch over an entry's overlay; None takes all its edits back."""
        ...

    def idle(self) -> None:
        """Called every few seconds while there is nothing to do, for what keeps connections alive. Raises nothing."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSetup:
    """What a store is made from: a name that keeps apps apart, where it is, and how to reach the broker.

    `size` is bytes: how long RabbitMQ's log may grow.
    """

    name: str
    url: str | None = None
    size: int = 4 * 2**20
    session: SessionOptions | None = None
    options: Mapping[str, object] = field(default_factory=dict)


Factory: TypeAlias = Callable[[StoreSetup], Store]

# Kind -> module with a function `create(setup)`, and the extra that brings the package it imports.
STORES: dict[str, tuple[str, str | None]] = {
    "rabbitmq": ("amqtask.beat.store_rabbitmq", None),
    "file": ("amqtask.beat.store_file", None),
    "redis": ("amqtask.beat.store_redis", "redis"),
    "sql": ("amqtask.beat.store_sql", "sql"),
}


def open_store(kind: str, setup: StoreSetup) -> Store:
    """A store of this kind.

    Raises:
        ConfigError: there is no such kind, or its URL is missing.
        ExtraMissing: the package that it needs is not installed.
    """
    known = STORES.get(kind)
    if known is None:
        raise ConfigError([Problem(message=f"unknown beat store {kind!r}", hint=f"known are {', '.join(STORES)}")])
    module, extra = known
    try:
        factory: Factory = importlib.import_module(module).create
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("amqtask"):
            raise
        raise ExtraMissing(
            f"the beat store {kind!r} needs a package that is not installed ({error.name}); install amqtask[{extra}]"
        ) from error
    return factory(setup)


def url_of(setup: StoreSetup, kind: str, example: str) -> str:
    """The URL or path of a store that needs one. Raises ConfigError."""
    if not setup.url:
        raise ConfigError([Problem(message=f"beat.store.url is missing; store {kind} needs it", hint=f"as {example}")])
    return setup.url
