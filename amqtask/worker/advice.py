"""Advice: what is odd about a worker that is about to start, though nothing forbids it."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from amqtask.app import App
from amqtask.hooks import Middleware

if TYPE_CHECKING:
    from amqtask.config.model import WorkerConfig

SHARED = ("threads", "asyncio", "gevent", "eventlet")
"""Pools in which tasks share a process, so that it cannot be killed for one of them."""

MANY_THREADS = 1000


def advise(app: App, worker: "WorkerConfig", pool: str, slots: int) -> Iterator[str]:
    """The warnings, with what to do about each."""
    yield from map(str, app.loaded_config.warnings)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others and pool == "processes":
        yield (
            f"importing the app started threads ({', '.join(others)}); they do not exist in the processes that execute."
            " Start them in a task or with @app.on.process_init"
        )
    if not app.tasks:
        yield "no task is registered: every message will be refused. Are the modules imported (`imports:`)?"
    if slots > MANY_THREADS and pool == "threads":
        yield f"{slots} threads in one process share one interpreter lock; consider --processes"
    if pool == "solo" and (worker.concurrency or 1) > 1:
        yield f"the pool solo runs one task at a time; concurrency {worker.concurrency} is not used"
    yield from _limits(app, pool)
    yield from _middlewares(app)


def _limits(app: App, pool: str) -> Iterator[str]:
    limited = [task.name for task in app.tasks.values() if app.parts.sender.effective(task.options).time_limit]
    if limited and pool in SHARED:
        yield (
            f"the time limit of {', '.join(sorted(limited))} is not kept: it kills a task's process, which the pool"
            f" {pool} shares. Give them a soft_time_limit, or a worker with pool: processes"
        )


def _middlewares(app: App) -> Iterator[str]:
    coroutines = sorted(task.name for task in app.tasks.values() if task.is_async)
    for middleware in app.middleware:
        kind = type(middleware)
        plain = kind.around_execute is not Middleware.around_execute
        if coroutines and plain and kind.around_execute_async is Middleware.around_execute_async:
            yield (
                f"{kind.__name__} has around_execute only, which is not called for coroutine functions"
                f" ({', '.join(coroutines)}); give it around_execute_async as well"
            )
