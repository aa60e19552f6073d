"""Beat's book in a file: for one machine, or several with a file system that locks (POSIX `fcntl`).

Every change writes the whole file beside the old one and puts it in its place; a lock file keeps writers apart.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from amqtask.beat.book import VERSION, Book, Kept, Overlay, patched
from amqtask.beat.store import StoreSetup, url_of
from amqtask.errors import BeatStoreFailed, Fenced, InvalidSchedule


def create(setup: StoreSetup) -> "FileStore":
    """The store of these settings; `url` is the file's path."""
    path = url_of(setup, "file", "var/beat.json").removeprefix("file://")
    return FileStore(Path(path))


class FileStore:
    """The book in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder = uuid.uuid4().hex

    def load(self) -> Book:
        with self._locked():
            return _book(self._read())

    def take_over(self) -> tuple[int, Book]:
        def take(form: dict[str, Any]) -> None:
            form["epoch"] += 1
            form["holder"] = self._holder

        form = self._change(take)
        return form["epoch"], _book(form)

    def save(self, epoch: int, states: Mapping[str, Kept | None]) -> None:
        def put(form: dict[str, Any]) -> None:
            if (form["epoch"], form["holder"]) != (epoch, self._holder):
                raise Fenced
            for name, kept in states.items():
                if kept is None:
                    form["states"].pop(name, None)
                else:
                    form["states"][name] = kept.to_json()

        self._change(put)

    def edit(self, name: str, patch: Overlay | None) -> None:
        def put(form: dict[str, Any]) -> None:
            overlay = patched(form["edits"].get(name), patch)
            if overlay is None:
                form["edits"].pop(name, None)
            else:
                form["edits"][name] = overlay

        self._change(put)

    def idle(self) -> None:
        """A file needs nothing."""

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _change(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        with self._locked():
            form = self._read()
            change(form)
            self._write(form)
        return form

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise BeatStoreFailed(f"beat's file {self._path}: {error.strerror or error}") from error

    def _read(self) -> dict[str, Any]:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return {"v": VERSION, "epoch": 0, "holder": "", "states": {}, "edits": {}}
        try:
            form: dict[str, Any] = json.loads(text)
            version = form["v"]
        except (ValueError, KeyError, TypeError) as error:
            raise BeatStoreFailed(f"beat's file {self._path} is damaged: {error}") from error
        if version != VERSION:
            raise BeatStoreFailed(f"beat's file {self._path} is of version {version!r}; this beat knows {VERSION}")
        return form

    def _write(self, form: dict[str, Any]) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(form, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise


def _book(form: Mapping[str, Any]) -> Book:
    try:
        states = {name: Kept.from_json(kept) for name, kept in form["states"].items()}
    except InvalidSchedule as error:
        raise BeatStoreFailed(str(error)) from error
    return Book(states=states, edits=form["edits"])
