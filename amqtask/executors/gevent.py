"""The pool `gevent`."""

from collections.abc import Callable

import gevent

from amqtask.executors.green import GreenExecutor


class GeventExecutor(GreenExecutor):
    """Runs each execution in a greenlet of gevent."""

    def _spawn(self, function: Callable[..., None], *arguments: object) -> object:
        return gevent.spawn(function, *arguments)

    def _from_hub(self, function: Callable[[], None]) -> None:
        gevent.get_hub().loop.run_callback(function)
