"""`--reload`: load the app anew when a source file changes. For development."""

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

INTERVAL = 1.0
"""Seconds between two looks at all files, where no package is installed that is told of changes."""
SUFFIXES = (".py", ".yaml", ".yml")
# As watchfiles leaves them out.
IGNORED = {"__pycache__", "node_modules", "site-packages", "build", "dist", "venv", "env"}


def reload_on_change(folder: Path) -> None:
    """Watch the Python and YAML files below a folder from a thread; each change is a SIGHUP to this process.

    With amqtask[reload] the system tells of changes; else the files are looked at each second.
    """
    watch = watched if importlib.util.find_spec("watchfiles") is not None else looked_at

    def run() -> None:
        for _ in watch(folder):
            os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=run, name="amqtask-reload", daemon=True).start()


def watched(folder: Path) -> Iterator[object]:
    """Something for each change, as the system tells of it."""
    import watchfiles

    def wanted(change: watchfiles.Change, path: str) -> bool:
        return path.endswith(SUFFIXES) and watchfiles.DefaultFilter()(change, path)

    yield from watchfiles.watch(folder, watch_filter=wanted, raise_interrupt=False)


def looked_at(folder: Path, interval: float = INTERVAL) -> Iterator[object]:
    """Something for each look that finds other files, or other times of change, than the one before."""
    before = snapshot(folder)
    while True:
        time.sleep(interval)
        now = snapshot(folder)
        if now != before:
            before = now
            yield now


def snapshot(folder: Path) -> dict[str, int]:
    """When each source file below a folder was changed, by path, in nanoseconds."""
    found: dict[str, int] = {}
    folders = [os.fspath(folder)]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue  # it is gone, or not ours to read
        for entry in entries:
            if entry.name.startswith(".") or entry.name in IGNORED:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(SUFFIXES):
                    found[entry.path] = entry.stat().st_mtime_ns
            except FileNotFoundError:
                continue
    return found
