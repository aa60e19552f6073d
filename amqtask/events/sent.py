"""Sent: a middleware that tells of each task that was sent."""

import threading
from collections.abc import Callable

from amqtask.core.message import TaskMessage
from amqtask.events.emitter import Emitter
from amqtask.events.model import cut
from amqtask.hooks import Middleware


class SentEvents(Middleware):
    """Emits task-sent once the broker has the task's message."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def around_publish(self, message: TaskMessage, proceed: Callable[[TaskMessage], None]) -> None:
        """Send it, and tell."""
        proceed(message)
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
