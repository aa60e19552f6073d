"""Waiting for what another thread, process or broker does, with a deadline instead of a sleep."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T | Literal[False] | None],
    deadline: float = 30.0,
    message: str | Callable[[], str] = "",
    interval: float = 0.02,
) -> T:
    """What `condition` returns as soon as that is true; it is asked again and again for `deadline` seconds.

    Raises:
        AssertionError: it never was; with `message`, which may be a function that tells what there was instead.
    """
    until = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > until:
            text = message() if callable(message) else message
            raise AssertionError(f"{text or 'the condition did not come true'} (waited {deadline:g} s)")
        time.sleep(interval)
    return value
