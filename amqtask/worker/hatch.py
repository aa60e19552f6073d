"""Hatching: the first nursery is forked from the program itself, so that they share the memory of what both import."""

import ctypes
import faulthandler
import gc
import importlib
import os
import signal
import sys
import threading
from dataclasses import replace

from amqtask.worker import child
from amqtask.worker.offspring import Offspring
from amqtask.worker.pipe import Pipe
from amqtask.worker.plan import Order
from amqtask.worker.process import Egg, launch
from amqtask.worker.reader import Reader

SHARED = (
    "amqtask.assembly",
    "amqtask.drivers.pika",
    "encodings.idna",
)
"""Imported before the fork: what both sides of it nearly always use, and what addresses are looked up with."""

M_ARENA_MAX = -8
"""glibc's `malloc.h`."""


def hatch(order: Order, reader: Reader) -> Egg:
    """Start the process that loads the app. To be called before the program has threads, handlers or descriptors.

    `reader` reads the configuration for it. In the new process it does not return: it ends with SystemExit.
    """
    if threading.active_count() > 1:
        # What another thread holds in this instant would be held for ever in a fork.
        reader.hand_over()
        return replace(launch(order), reader=reader)
    for name in SHARED:
        importlib.import_module(name)
    _use_one_arena()
    # What is there now is never collected: that would copy its pages.
    gc.freeze()
    pipe, theirs = Pipe.pair()
    pid = os.fork()
    if pid == 0:
        pipe.close()
        gc.enable()
        _be_like_a_fresh_interpreter()
        sys.exit(child.main(theirs.detach(), reader))
    theirs.close()
    reader.hand_over()
    pipe.send({"do": "load", "order": order.to_json()})
    return Egg(Offspring(pid), pipe, reader)


def _be_like_a_fresh_interpreter() -> None:
    """As `process.launch` starts one."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    if not sys.flags.safe_path:
        del sys.path[0]  # the program's own folder


def _use_one_arena() -> None:
    """What MALLOC_ARENA_MAX does for processes that are started with it; see `process.launch`."""
    libc = ctypes.CDLL(None)
    if "MALLOC_ARENA_MAX" not in os.environ and hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
