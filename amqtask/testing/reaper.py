"""Ends process groups and removes folders when the process that started them is gone, even by `kill -9`."""

import subprocess
import sys
from typing import Final

# The child reads orders from a pipe. At the end of the pipe, and that is when we are dead, it carries them out.
_PROGRAM: Final = """
import os, shutil, signal, sys
groups, folders = set(), set()
for line in sys.stdin:
    order, _, what = line.rstrip("\\n").partition(" ")
    if order == "group":
        groups.add(int(what))
    elif order == "folder":
        folders.add(what)
    elif order == "spare":
        groups.discard(int(what))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""


class Reaper:
    """A process that outlives this one just long enough to clean up after it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch_group(self, group: int) -> None:
        """Kill this process group at the end."""
        self._order(f"group {group}")

    def spare_group(self, group: int) -> None:
        """The group is gone already; its number may be somebody else's soon."""
        self._order(f"spare {group}")

    def watch_folder(self, folder: str) -> None:
        """Remove this folder at the end."""
        self._order(f"folder {folder}")

    def close(self) -> None:
        """Carry out what is ordered now."""
        self._process.communicate()

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
