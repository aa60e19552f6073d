"""Journal: where a broker writes down what must survive it."""

from typing import Protocol

from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.exchange import Binding, ExchangeSpec
from amqtask.devbroker.message import Entry


class Journal(Protocol):
    """Called as things happen.

    Nothing counts before `commit`, after which publishers are told that their messages are safe.
    """

    @property
    def is_dirty(self) -> bool: ...
    def vhost_added(self, vhost: str) -> None: ...
    def exchange_declared(self, vhost: str, spec: ExchangeSpec) -> None: ...
    def exchange_deleted(self, vhost: str, name: str) -> None: ...
    def queue_declared(self, vhost: str, spec: QueueSpec) -> None: ...
    def queue_deleted(self, vhost: str, name: str) -> None: ...
    def bound(self, vhost: str, binding: Binding) -> None: ...
    def unbound(self, vhost: str, binding: Binding) -> None: ...
    def added(self, vhost: str, queue: str, entry: Entry) -> None: ...
    def delivered(self, vhost: str, queue: str, entry: Entry) -> None: ...
    def changed(self, entry: Entry) -> None: ...
    def removed(self, entry: Entry) -> None: ...
    def commit(self) -> None: ...


class Forgetful:
    """A journal that keeps nothing: the broker lives in memory."""

    is_dirty = False

    def vhost_added(self, vhost: str) -> None:
        """Nothing is kept."""

    def exchange_declared(self, vhost: str, spec: ExchangeSpec) -> None:
        """Nothing is kept."""

    def exchange_deleted(self, vhost: str, name: str) -> None:
        """Nothing is kept."""

    def queue_declared(self, vhost: str, spec: QueueSpec) -> None:
        """Nothing is kept."""

    def queue_deleted(self, vhost: str, name: str) -> None:
        """Nothing is kept."""

    def bound(self, vhost: str, binding: Binding) -> None:
        """Nothing is kept."""

    def unbound(self, vhost: str, binding: Binding) -> None:
        """Nothing is kept."""

    def added(self, vhost: str, queue: str, entry: Entry) -> None:
        """Nothing is kept."""

    def delivered(self, vhost: str, queue: str, entry: Entry) -> None:
        """Nothing is kept."""

    def changed(self, entry: Entry) -> None:
        """Nothing is kept."""

    def removed(self, entry: Entry) -> None:
        """Nothing is kept."""

    def commit(self) -> None:
        """Nothing is kept."""
