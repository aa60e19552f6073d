"""The pool `asyncio` on uvloop's event loop."""

import uvloop

from amqtask.executors.aio import AsyncioExecutor


class UvloopExecutor(AsyncioExecutor):
    """Coroutines on an event loop written in C."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, uvloop.new_event_loop)
