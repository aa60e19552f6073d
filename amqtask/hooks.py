"""Hooks: middleware, typed onions around publishing and executing, composed once; and functions that set an app up.

Each layer calls `proceed` to go on, may do things before and after, may change what it hands on, and may raise.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.context import Context
    from amqtask.core.message import TaskMessage

T = TypeVar("T")
R = TypeVar("R")
Setup = TypeVar("Setup", bound=Callable[..., object])


class Middleware:
    """Base class of middlewares: each layer only proceeds. Override what you need."""

    def around_publish(self, message: "TaskMessage", proceed: "Callable[[TaskMessage], None]") -> None:
        """Around sending a task message. `proceed` returns when the broker has it (at once within a batch)."""
        proceed(message)

    def around_execute(self, context: "Context", proceed: "Callable[[Context], object]") -> object:
        """Around the user's function; returns its result. An exception raised here is the task's failure."""
        return proceed(context)

    async def around_execute_async(
        self, context: "Context", proceed: "Callable[[Context], Awaitable[object]]"
    ) -> object:
        """Around the user's coroutine function, which does not pass through `around_execute`."""
        return await proceed(context)


class Layer(Protocol[T, R]):
    """One skin of an onion."""

    def __call__(self, value: T, proceed: Callable[[T], R], /) -> R: ...


def compose(layers: Sequence[Layer[T, R]], core: Callable[[T], R]) -> Callable[[T], R]:
    """`core` within the layers; the first layer is the outermost."""
    inner = core
    for layer in reversed(layers):
        inner = _wrap(layer, inner)
    return inner


def _wrap(layer: Layer[T, R], inner: Callable[[T], R]) -> Callable[[T], R]:
    def onion(value: T) -> R:
        return layer(value, inner)

    return onion


class Setups:
    """`@app.on_after_configure`: functions that are called with the app once its configuration and tasks are there."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., object]] = []
        self._called = False

    def __call__(self, function: Setup) -> Setup:
        self._functions.append(function)
        return function

    # Celery's users write `@app.on_after_configure.connect`.
    connect = __call__

    def call(self, app: "App") -> None:
        """Call them, once."""
        if not self._called:
            self._called = True
            for function in self._functions:
                function(app)
