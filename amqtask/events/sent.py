"""Sent: tells of each task that was sent."""

import threading
from collections.abc import Callable

from amqtask.core.message import TaskMessage
from amqtask.core.routing import Routing
from amqtask.events.emitter import Emitter
from amqtask.events.model import cut


class SentEvents:
    """Emits task-sent once the broker has the task's message."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def sent(self, message: TaskMessage, routing: Routing) -> None:
        """A task was sent this way. `queue` is told where it is one."""
        self._emitter.emit(
            "task-sent",
            {
                "uuid": message.id,
                "name": message.task,
                "args": cut(message.argsrepr or repr(message.args)),
                "kwargs": cut(message.kwargsrepr or repr(dict(message.kwargs))),
                "retries": message.retries,
                "eta": None if message.eta is None else message.eta.isoformat(),
                "expires": None if message.expires is None else message.expires.isoformat(),
                "root_id": message.root_id or message.id,
                "parent_id": message.parent_id,
                "queue": routing.queues[0] if len(routing.queues) == 1 else None,
                "exchange": routing.exchange,
                "routing_key": routing.routing_key,
            },
        )

    def flush(self) -> None:
        """Send what waits."""
        self._emitter.flush()


def later(seconds: float, call: Callable[[], None]) -> None:
    """Call back on a thread of its own: a process that only sends has no loop."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
