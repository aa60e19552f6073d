"""Beats in subprocesses, and the account of what they sent and what was run."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from tests.support.eventually import eventually
from tests.support.program import RunningWorker, Scratch

SECOND = timedelta(seconds=1)

TICKING = """
    @app.task(bind=True)
    def tick(self, *words):
        note("tick", *words, self.request.headers.get("x-aqt-due"), self.request.id)
    """


class RunningBeat:
    """`amqtask beat` in a subprocess, and its log so far."""

    def __init__(self, scratch: Scratch, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "amqtask", "beat", "-A", "tasks:app", "--log-format", "json", *arguments],
            cwd=scratch.folder,
            env=scratch.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[dict[str, Any]] = []
        self.text: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def leads(self) -> bool:
        """Whether the last that it said of the lead is that it has it."""
        said = [line["action"] for line in list(self.lines) if line["action"] in ("beat-leads", "beat-deposed")]
        return self.process.poll() is None and bool(said) and said[-1] == "beat-leads"

    @property
    def stands_by(self) -> bool:
        return self.process.poll() is None and bool(self.said("beat-standing-by"))

    def said(self, action: str) -> list[dict[str, Any]]:
        """Its log lines of this kind."""
        return [line for line in list(self.lines) if line["action"] == action]

    def wait_for(self, action: str, count: int = 1, deadline: float = 60.0) -> list[dict[str, Any]]:
        """Wait until it said so at least so many times."""
        eventually(lambda: len(self.said(action)) >= count, deadline, lambda: f"no {action}:\n{self.output()}")
        return self.said(action)

    def output(self) -> str:
        return "\n".join(self.text[-50:])

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """kill -9, frozen or not."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self, deadline: float = 60.0) -> int:
        """SIGTERM, and wait for its end."""
        self.signal(signal.SIGTERM)
        code = self.process.wait(deadline)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            self.text.append(line.rstrip("\n"))
            if line.startswith("{"):
                self.lines.append({"action": "", **json.loads(line), "seen": time.monotonic()})


class Crowd:
    """Several beats of one app."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.beats: list[RunningBeat] = []

    def start(self, *arguments: str) -> RunningBeat:
        """One more."""
        self.beats.append(RunningBeat(self.scratch, *arguments))
        return self.beats[-1]

    def leader(self, deadline: float = 60.0, other_than: RunningBeat | None = None) -> RunningBeat:
        """The one that leads, as soon as there is one."""

        def find() -> RunningBeat | None:
            return next((beat for beat in self.beats if beat.leads and beat is not other_than), None)

        found = eventually(find, deadline, self.output)
        assert found is not None
        return found

    def output(self) -> str:
        return "\n\n".join(beat.output() for beat in self.beats)

    def stop(self) -> None:
        """Stop all, in good order, those that have just been started once they have begun."""
        for beat in self.beats:
            if beat.process.poll() is None:
                beat.wait_for("beat-standing-by")
                assert beat.stop() == 0, beat.output()


@contextmanager
def crowd(scratch: Scratch) -> Iterator[Crowd]:
    """Beats that are killed at the end of the block if they still live."""
    made = Crowd(scratch)
    try:
        yield made
    finally:
        for beat in made.beats:
            beat.kill()


def entries(scratch: Scratch) -> dict[str, dict[str, Any]]:
    """What `beat list` says, by name."""
    done = scratch.run("beat", "-A", "tasks:app", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def run_dues(scratch: Scratch, word: str) -> list[datetime]:
    """The due times of the ticks that were run with this argument, in order of time."""
    lines = [line.split() for line in scratch.lines()]
    return sorted(datetime.fromisoformat(words[2]) for words in lines if words[:2] == ["tick", word])


def due_until_last_run(entry: dict[str, Any], every: timedelta) -> list[datetime]:
    """All times at which an interval was due, by its state: none is left out."""
    state = entry["state"]
    since, last = datetime.fromisoformat(state["since"]), datetime.fromisoformat(state["last_run"])
    return [since + number * every for number in range(1, (last - since) // every + 1)]


def assert_each_ran_once(worker: RunningWorker, word: str, every: timedelta = SECOND) -> list[datetime]:
    """Account for every tick of the entry of this name, which the worker ran; the due times."""
    scratch = worker.scratch
    wanted = due_until_last_run(entries(scratch)[word], every)
    eventually(
        lambda: len(run_dues(scratch, word)) >= len(wanted),
        60,
        lambda: f"lost: {sorted(set(wanted) - set(run_dues(scratch, word)))}\n{worker.output()[-5000:]}",
    )
    ran = run_dues(scratch, word)
    assert ran == wanted, f"twice or too many: {[due for due in ran if ran.count(due) > 1 or due not in wanted]}"
    return wanted
