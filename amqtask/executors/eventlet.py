"""The pool `eventlet`."""

from collections.abc import Callable

import eventlet
from eventlet import hubs

from amqtask.executors.green import GreenExecutor


class EventletExecutor(GreenExecutor):
    """Runs each execution in a green thread of eventlet."""

    def _spawn(self, function: Callable[..., None], *arguments: object) -> object:
        return eventlet.spawn(function, *arguments)

    def _from_hub(self, function: Callable[[], None]) -> None:
        hubs.get_hub().schedule_call_global(0, function)
