"""Companion: the beat beside a worker (`amqtask worker -B`), a process of its own that is started again if it dies."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence

import click

from amqtask.cli.target import Target
from amqtask.core.backoff import Backoff

STOP_TIMEOUT = 20.0
HOPELESS = (os.EX_USAGE, os.EX_NOINPUT, os.EX_NOPERM, os.EX_CONFIG, 2)
"""Exit codes that another start would only repeat."""


def beat_command(target: Target, *options: str) -> list[str]:
    """The command line of a beat for this target."""
    command = [sys.executable, "-m", "amqtask"]
    if target.app is not None:
        command += ["-A", target.app]
    if target.config is not None:
        command += ["-C", target.config]
    for override in target.overrides:
        command += ["--set", override]
    return [*command, "beat", *options]


class Companion:
    """Runs a command from `start` to the end of a block; a context manager.

    The command is given `--bound-to` with a pipe that ends when this process does, however that is.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._backoff = Backoff(initial=0.5, maximum=30.0)
        self._stopping = threading.Event()
        self._renewing = threading.Event()
        self._reader, self._writer = os.pipe()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = self._make_thread()

    def start(self) -> None:
        """Start the command; nothing happens before."""
        self._thread.start()

    def renew(self) -> None:
        """Have the command end and started again, also if it could not run before."""
        if not self._thread.is_alive():
            self._thread = self._make_thread()
            self._thread.start()
        elif self._process is not None:
            self._renewing.set()
            self._process.terminate()

    def __enter__(self) -> "Companion":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        os.close(self._writer)
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._reader)

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="amqtask-companion", daemon=True)

    def _run(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            command = [*self._command, "--bound-to", str(self._reader)]
            self._process = subprocess.Popen(command, pass_fds=[self._reader], stdin=subprocess.DEVNULL)
            code = self._process.wait()
            if self._renewing.is_set() and not self._stopping.is_set():
                self._renewing.clear()
                tries = 0
                continue
            if code == 0 or self._stopping.is_set():
                return  # it was told to stop, as by Ctrl-C
            if code in HOPELESS:
                click.echo(f"error: the beat cannot run (exit code {code}); the worker goes on without it", err=True)
                return
            tries += 1
            delay = self._backoff.delay(tries, random.random())
            click.echo(f"error: the beat died (exit code {code}); starting it again in {delay:.1f} s", err=True)
            self._stopping.wait(delay)
