"""Purging: throwing away what waits in queues. The broker does it; no node is asked."""

from collections.abc import Iterable, Iterator

from amqtask.core.declare import PurgeQueue
from amqtask.drivers.base import Connection, QuietSink
from amqtask.errors import NotFound


def purge(connection: Connection, queues: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each queue, and how many messages were thrown away there: none where it does not exist. Those that a worker
    holds stay.

    Raises:
        ChannelClosed: the broker refuses it.
    """
    for name in queues:
        channel = connection.channel(QuietSink(), confirms=False)
        try:
            info = channel.declare(PurgeQueue(name=name))
        except NotFound:
            yield name, 0
            continue
        channel.close()
        yield name, info.messages if info is not None else 0
