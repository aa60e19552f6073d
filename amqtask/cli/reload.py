"""`--reload`: load the app anew when a source file changes. For development."""

import os
import signal
import threading
from pathlib import Path

from amqtask.errors import ExtraMissing


def reload_on_change(folder: Path) -> None:
    """Watch the Python and YAML files below a folder from a thread; each change is a SIGHUP to this process.

    Raises:
        ExtraMissing: watchfiles is not installed.
    """
    try:
        import watchfiles
    except ModuleNotFoundError as error:
        raise ExtraMissing("--reload needs a package that is not installed; install amqtask[reload]") from error

    def wanted(change: watchfiles.Change, path: str) -> bool:
        return path.endswith((".py", ".yaml", ".yml")) and watchfiles.DefaultFilter()(change, path)

    def watch() -> None:
        for _ in watchfiles.watch(folder, watch_filter=wanted, raise_interrupt=False):
            os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=watch, name="amqtask-reload", daemon=True).start()
