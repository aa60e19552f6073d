"""Runs the blocks of one page, in order, as a reader would: files are written, a worker is started, Python goes on."""

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.eventually import eventually
from tests.support.pages import Block

DEADLINE = 60.0

# An interpreter that stays, so that blocks see what those before them defined. Doctests are checked with their output.
_INTERPRETER = r"""
import ast, asyncio, doctest, inspect, io, json, sys, traceback, contextlib
names = {"__name__": "__page__"}
sys.path.insert(0, "")
def run(source, place):
    if source.lstrip().startswith(">>>"):
        out = io.StringIO()
        test = doctest.DocTestParser().get_doctest(source, names, place, place, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=out.write, clear_globs=False)
        names.update(test.globs)
        if out.getvalue():
            raise AssertionError(out.getvalue())
        return
    found = eval(compile(source, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)
    if inspect.iscoroutine(found):
        asyncio.run(found)
for line in sys.stdin:
    block = json.loads(line)
    error = ""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            run(block["code"], block["place"])
        except BaseException:
            error = traceback.format_exc()
    print(json.dumps(error), flush=True)
"""


class PageRunner:
    """A folder, an interpreter and the worker of one page; a context manager."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """`environment` is added to this process's."""
        self._folder = folder
        scripts = str(Path(sys.executable).parent)
        # The plugin is loaded where it is not installed, too.
        pytest_options = {"PYTEST_ADDOPTS": "-p pytest_amqtask -p no:cacheprovider"}
        self._environment = (
            os.environ | pytest_options | {"PATH": scripts + os.pathsep + os.environ["PATH"]} | environment
        )
        self._interpreter: subprocess.Popen[str] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._log = folder / ".log"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._interpreter is not None:
            self._interpreter.communicate()
        for worker in self._workers:
            worker.terminate()
            worker.wait(DEADLINE)

    def run(self, block: Block) -> str:
        """Do what the block says; what went wrong, or nothing."""
        if block.file is not None:
            target = self._folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code)
        elif block.language == "python":
            return self._python(block)
        elif block.language == "console":
            return "".join(self._command(shlex.split(command, comments=True)) for command in block.commands())
        return ""

    def _python(self, block: Block) -> str:
        if self._interpreter is None:
            self._interpreter = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", _INTERPRETER],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self._interpreter.stdin is not None
        assert self._interpreter.stdout is not None
        self._interpreter.stdin.write(json.dumps({"code": block.code, "place": block.place}) + "\n")
        self._interpreter.stdin.flush()
        killer = threading.Timer(DEADLINE, self._interpreter.kill)
        killer.start()
        answer = self._interpreter.stdout.readline()
        killer.cancel()
        return str(json.loads(answer)) if answer else f"no answer within {DEADLINE:g} s, or the interpreter died"

    def _command(self, words: Sequence[str]) -> str:
        """Ours are run, all others are left alone: they install things, start services, or leave the page's folder."""
        if not words or words[0] not in ("amqtask", "pytest"):
            return ""
        if "worker" in words:
            return self._worker([word for word in words if word != "&"])
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return f"{shlex.join(words)}: exit code {done.returncode}\n{done.stderr}" if done.returncode else ""

    def _worker(self, words: Sequence[str]) -> str:
        with self._log.open("ab") as log:
            worker = subprocess.Popen(words, cwd=self._folder, env=self._environment, stderr=log)
        self._workers.append(worker)
        eventually(lambda: "ready" in self._log.read_text() or worker.poll() is not None, DEADLINE, self._log.read_text)
        return "" if worker.poll() is None else f"{shlex.join(words)}: ended\n{self._log.read_text()}"
