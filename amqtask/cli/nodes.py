"""Nodes: workers of one machine in the background, each with files in a folder: pid, log, and how it was started."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

FOLDER_VARIABLE = "AMQTASK_RUN_DIR"
LOOK = 0.05
"""Seconds between two looks at a process that starts or ends: it is nobody's child that could tell."""
READY = "  ready "
"""How the line begins with which a worker says that it consumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How a node was started. `pid` is 0 and `born` empty when it was stopped."""

    name: str
    command: list[str]
    folder: str
    environment: dict[str, str]
    pid: int = 0
    born: str = ""
    """When the process began, as the system tells it: another process may have the same pid later."""


def default_folder() -> Path:
    """AMQTASK_RUN_DIR, else a folder of the user's own."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state, "amqtask")


class Nodes:
    """The nodes whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        """Raises click.ClickException where the user cannot write into the folder; it says which."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise click.ClickException(
                f"cannot write into {folder} ({error.strerror}); name another folder with --folder or {FOLDER_VARIABLE}"
            ) from None

    def all(self) -> list[Memory]:
        """All that were ever started here and not forgotten."""
        return [self.get(path.stem) for path in sorted(self.folder.glob("*.json"))]

    def get(self, name: str) -> Memory:
        """What is known of a node. Raises click.ClickException where nothing is."""
        try:
            return Memory(**json.loads((self.folder / f"{name}.json").read_text()))
        except FileNotFoundError:
            known = ", ".join(path.stem for path in sorted(self.folder.glob("*.json"))) or "none"
            raise click.ClickException(f"no node {name!r} was started from {self.folder}; known: {known}") from None

    def knows(self, name: str) -> bool:
        return (self.folder / f"{name}.json").exists()

    def log(self, name: str) -> Path:
        """The file that a node writes to."""
        return self.folder / f"{name}.log"

    def start(self, name: str, command: Sequence[str], folder: str, environment: Mapping[str, str]) -> Memory:
        """Start a node in the background. Raises click.ClickException where it runs already."""
        if self.knows(name) and is_running(self.get(name)):
            raise click.ClickException(f"{name} is running already (pid {self.get(name).pid})")
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        memory = Memory(
            name=name,
            command=list(command),
            folder=folder,
            environment=dict(environment),
            pid=process.pid,
            born=born(process.pid),
        )
        self._remember(memory)
        return memory

    def wait_ready(self, memory: Memory, offset: int, timeout: float) -> bool:
        """Whether the node said that it is ready, in what its log holds after `offset`, before it ended."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            ended = not is_running(memory)
            if any(line.startswith(READY) for line in self.said(memory.name, offset).splitlines()):
                return True
            if ended:
                return False
            time.sleep(LOOK)
        return False

    def said(self, name: str, offset: int) -> str:
        """What a node's log holds after an offset."""
        with self.log(name).open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def stop(self, memory: Memory, timeout: float, *, kill: bool) -> bool:
        """SIGTERM, and SIGKILL after the time if `kill`; whether it ended."""
        if is_running(memory):
            os.kill(memory.pid, signal.SIGTERM)
            if not _wait_ended(memory, timeout):
                if not kill:
                    return False
                os.killpg(memory.pid, signal.SIGKILL)
                _wait_ended(memory, timeout)
        self._remember(
            Memory(name=memory.name, command=memory.command, folder=memory.folder, environment=memory.environment)
        )
        return True

    def forget(self, name: str) -> None:
        """Remove a node's files, but for its log."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def _remember(self, memory: Memory) -> None:
        pid_file = self.folder / f"{memory.name}.pid"
        if memory.pid:
            pid_file.write_text(f"{memory.pid}\n")
        else:
            pid_file.unlink(missing_ok=True)
        fresh = self.folder / f".{memory.name}.new"
        fresh.write_text(json.dumps(asdict(memory), indent=2))
        os.replace(fresh, self.folder / f"{memory.name}.json")


def is_running(memory: Memory) -> bool:
    """Whether the process that was started still runs."""
    return bool(memory.pid) and bool(memory.born) and born(memory.pid) == memory.born


def born(pid: int) -> str:
    """When a process began, as a text that no other process of this pid has; empty where there is none or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return done.stdout.strip()
    return "" if fields[0] == "Z" else fields[19]


def _wait_ended(memory: Memory, timeout: float) -> bool:
    until = time.monotonic() + timeout
    while is_running(memory):
        if time.monotonic() > until:
            return False
        time.sleep(LOOK)
    return True
