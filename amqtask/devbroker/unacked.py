"""Unacked: what a channel's client holds."""

from amqtask.devbroker.consumers import Consumer
from amqtask.devbroker.errors import precondition_failed
from amqtask.devbroker.message import Entry
from amqtask.devbroker.queue import Queue


class Delivery:
    """One message in a client's hands; `since` is in seconds since the epoch. `basic.get` has no consumer."""

    __slots__ = ("consumer", "entry", "queue", "since", "tag")

    def __init__(self, tag: int, entry: Entry, queue: Queue, consumer: Consumer | None, since: float) -> None:
        self.tag = tag
        self.entry = entry
        self.queue = queue
        self.consumer = consumer
        self.since = since


class Unacked:
    """Deliveries by tag, the oldest first."""

    def __init__(self) -> None:
        self._by_tag: dict[int, Delivery] = {}
        self._late: set[int] = set()
        self._aside: dict[int, Delivery] = {}

    def __len__(self) -> int:
        return len(self._by_tag)

    def add(self, delivery: Delivery) -> None:
        self._by_tag[delivery.tag] = delivery

    def all(self) -> list[Delivery]:
        return list(self._by_tag.values())

    def take(self, tag: int, *, multiple: bool) -> list[Delivery]:
        """Take out the delivery `tag`, with `multiple` all up to it; 0 with `multiple` means all.

        Raises SoftError (406) if it is not held.
        """
        if not multiple:
            delivery = self._by_tag.pop(tag, None)
            if delivery is not None:
                return [delivery]
            if tag in self._late:
                self._late.remove(tag)
                return []
            raise precondition_failed(f"unknown delivery tag {tag}")
        if tag == 0:
            return self._take_all()
        if tag not in self._by_tag and tag not in self._late:
            raise precondition_failed(f"unknown delivery tag {tag}")
        taken = []
        for delivery in self._by_tag.values():
            if delivery.tag > tag:
                break
            taken.append(delivery)
        for delivery in taken:
            del self._by_tag[delivery.tag]
        return taken

    def _take_all(self) -> list[Delivery]:
        taken = list(self._by_tag.values())
        self._by_tag.clear()
        return taken

    def take_from(self, consumer: Consumer) -> list[Delivery]:
        """Take out all that `consumer` got, because it was too slow.

        Its client may still settle them, without effect.
        """
        taken = [delivery for delivery in self._by_tag.values() if delivery.consumer is consumer]
        for delivery in taken:
            del self._by_tag[delivery.tag]
            self._late.add(delivery.tag)
        return taken

    def clear(self) -> list[Delivery]:
        """Take out everything, what a transaction has set aside too."""
        self.restore()
        return self._take_all()

    # A transaction settles only when it is committed; until then the deliveries are neither held nor gone.

    def set_aside(self, deliveries: list[Delivery]) -> None:
        self._aside |= {delivery.tag: delivery for delivery in deliveries}

    def forget_aside(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._aside.pop(delivery.tag, None)

    def restore(self) -> None:
        if self._aside:
            self._by_tag = dict(sorted((self._by_tag | self._aside).items()))
            self._aside.clear()
