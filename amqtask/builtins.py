"""The tasks that canvases need, by Celery's names, so that those of a Celery client run here.

`celery.map` and `celery.starmap` call another task for each item of a list, `celery.accumulate` brings the results of a
group together, and the others send the canvas that they are called with.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amqtask.canvas import signature
from amqtask.core.canvas import ACCUMULATE, CHAIN, CHORD, CHUNKS, GROUP, MAP, STARMAP, signature_of
from amqtask.core.signature import Signature
from amqtask.core.state import ref_to_json
from amqtask.registry import Registry
from amqtask.task import Sender, Task, TaskOptions


def register_builtins(tasks: Registry, sender: Sender) -> None:
    """Add those that the app has no task of its own for."""

    def add(name: str, run: Callable[..., Any]) -> None:
        if name not in tasks:
            tasks.register(Task(run, TaskOptions(name=name, typing=False), sender))

    def caller(form: object) -> Callable[..., object]:
        given = signature_of(form)
        task = tasks[given.task]

        def call(*args: object) -> object:
            value: object = task(*args, *given.args, **given.kwargs)
            return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value

        return call

    def xmap(task: object, it: Iterable[object]) -> list[object]:
        call = caller(task)
        return [call(item) for item in it]

    def starmap(task: object, it: Iterable[Sequence[object]]) -> list[object]:
        call = caller(task)
        return [call(*item) for item in it]

    add(MAP, xmap)
    add(STARMAP, starmap)
    add(ACCUMULATE, accumulate)
    for name in (CHAIN, GROUP, CHORD, CHUNKS):
        add(name, _launcher(name, sender))


def accumulate(*args: object, index: int | None = None) -> object:
    """The arguments, or the one at `index`."""
    return list(args) if index is None else args[index]


def _launcher(name: str, sender: Sender) -> Callable[..., object]:
    def launch(*args: object, **kwargs: object) -> object:
        known: Mapping[str, object] = {
            part: kwargs[part] for part in ("tasks", "header", "body", "task", "it", "n") if part in kwargs
        }
        canvas = Signature(task=name, kwargs=known)
        return ref_to_json(signature(canvas, args, app=sender).delay().ref())

    return launch


async def _awaited(value: Any) -> object:
    return await value
