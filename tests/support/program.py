"""The real command line in subprocesses: apps in scratch folders, workers that are started, watched and stopped."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]

JOURNAL = textwrap.dedent(
    '''
    import os
    import signal
    import time

    from amqtask import App, Ignore, Reject
    from amqtask.errors import SoftTimeLimitExceeded

    app = App("e2e")
    JOURNAL = os.environ["JOURNAL"]


    def note(*words):
        """One atomic line in the journal, which the test reads."""
        line = " ".join(str(word) for word in words) + "\\n"
        descriptor = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
    '''
)


class Scratch:
    """A folder with an app module, a configuration and a journal that its tasks write to."""

    def __init__(self, folder: Path, url: str, config: str, tasks: str) -> None:
        self.folder = folder
        self.journal = folder / "journal.txt"
        (folder / "amqtask.yaml").write_text(f"broker:\n  url: {url}\n" + textwrap.dedent(config))
        (folder / "tasks.py").write_text(JOURNAL + "\n\n" + textwrap.dedent(tasks))
        self.environment = {
            **os.environ,
            "JOURNAL": str(self.journal),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        for name in ("AMQTASK_BROKER_URL", "AMQTASK_CONFIG", "AMQTASK_APP"):
            self.environment.pop(name, None)

    def lines(self) -> list[str]:
        """What the tasks have noted."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def run(self, *arguments: str, timeout: float = 90.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`amqtask …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "amqtask", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def python(self, code: str, timeout: float = 120.0) -> str:
        """A script that may `import tasks`; its standard output."""
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_python(self, code: str) -> subprocess.Popen[bytes]:
        """A script that goes on while the test does other things."""
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextmanager
    def worker(self, *arguments: str, ready: bool = True) -> Iterator["RunningWorker"]:
        """`amqtask worker …` while the block runs; killed at its end if it still lives."""
        with self.running("worker", "-A", "tasks:app", *arguments) as process:
            if ready:
                process.wait_for("ready ")
            yield process

    @contextmanager
    def running(self, *arguments: str) -> Iterator["RunningWorker"]:
        """`amqtask …` while the block runs; killed at its end if it still lives."""
        process = RunningWorker(self, arguments)
        try:
            yield process
        finally:
            process.kill()


class RunningWorker:
    """A worker or the like in a subprocess, and what it has written so far."""

    def __init__(self, scratch: Scratch, arguments: tuple[str, ...]) -> None:
        self.scratch = scratch
        self.process = subprocess.Popen(
            [sys.executable, "-m", "amqtask", *arguments],
            cwd=scratch.folder,
            env=scratch.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def output(self) -> str:
        """All that it has written."""
        return "\n".join(self._lines)

    def wait_for(self, pattern: str, deadline: float = 60.0) -> re.Match[str]:
        """Wait until its output matches a regular expression."""
        return eventually(
            lambda: re.search(pattern, self.output(), re.MULTILINE) or (self._ended() and None),
            deadline,
            lambda: f"no {pattern!r} in the worker's output:\n{self.output()}",
        )

    def signal(self, number: int) -> None:
        """Signal the supervisor only."""
        os.kill(self.process.pid, number)

    def wait(self, deadline: float = 60.0) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(deadline)
        self._reader.join(10)
        return code

    def stop(self, deadline: float = 60.0) -> int:
        """SIGTERM, and wait for its end."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline)

    def children(self) -> list[int]:
        """The processes that execute: the zygote's children, or the supervisor's own fresh ones."""
        direct = _children(self.process.pid)
        return [grandchild for child in direct for grandchild in _children(child)] or direct

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            self._lines.append(line.rstrip("\n"))


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]
