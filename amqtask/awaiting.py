"""Awaiting a publish: the message is handed over on the event loop, and the broker's answer is awaited."""

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from amqtask.batch import AsyncBatch, open_batch
from amqtask.errors import BatchFailed

if TYPE_CHECKING:
    from amqtask.canvas import CanvasSender

T = TypeVar("T")

_warm: "weakref.WeakKeyDictionary[CanvasSender, int]" = weakref.WeakKeyDictionary()
"""Who has all that sending needs, in which process."""


async def awaiting(sender: "CanvasSender", send: Callable[[], T]) -> T:
    """What `send` returns, once the broker has what it sends; within a batch at once.

    Raises:
        As `send`, and as the publisher; BatchFailed where several messages were sent and some were not taken.
    """
    if open_batch() is not None:
        return send()
    if _warm.get(sender) != os.getpid():
        # Reading the configuration and asking for a reply queue take their time; it is needed once.
        await asyncio.to_thread(lambda: sender.launcher.warm())
        _warm[sender] = os.getpid()
    batch = AsyncBatch()
    try:
        async with batch:
            return send()
    except BatchFailed as error:
        if error.total == 1:
            raise next(iter(error.failures.values())) from None
        raise
