"""Results as files in a folder that all share, one a task; whole or not there, and written under a lock."""

import fcntl
import hashlib
import os
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from amqtask.clock import Clock
from amqtask.errors import BackendFailed, ConfigError, MessageError, Problem
from amqtask.log import event, get_logger
from amqtask.results.codec import Record, ResultCodec
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

logger = get_logger("results")

TASK_PREFIX = "celery-task-meta-"
GROUP_PREFIX = "celery-taskset-meta-"

_LOCKS = 64
_CLEANING = 300.0


class FileStore:
    """A folder. A file's modification time says when it expires.

    Writers of one task exclude each other with `flock` on one of a few lock files, which never go away; readers need
    no lock, because a file is written beside and then renamed. Network file systems must support `flock` for that.
    """

    def __init__(self, folder: Path, codec: ResultCodec, *, prefix: str, expires: float | None, clock: Clock) -> None:
        self._folder = folder
        self._codec = codec
        self._prefix = prefix
        self._expires = expires
        self._clock = clock
        self._clean_lock = threading.Lock()
        self._clean_at = 0.0

    def write(self, records: Sequence[Record]) -> None:
        with _translated():
            self._folder.mkdir(parents=True, exist_ok=True)
            for record in records:
                path = self._path(TASK_PREFIX, record.result.task_id)
                with self._locked(path):
                    if self._precedence(self._fresh(path)) <= record.precedence:
                        self._replace(path, record.value)
        self._clean()

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        with _translated():
            for task_id in task_ids:
                value = self._fresh(self._path(TASK_PREFIX, task_id))
                if value is not None:
                    found[task_id] = value
        return found

    def delete(self, task_id: str) -> None:
        with _translated():
            self._path(TASK_PREFIX, task_id).unlink(missing_ok=True)

    def write_group(self, group_id: str, value: bytes) -> None:
        with _translated():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._replace(self._path(GROUP_PREFIX, group_id), value)

    def read_group(self, group_id: str) -> bytes | None:
        with _translated():
            return self._fresh(self._path(GROUP_PREFIX, group_id))

    def delete_group(self, group_id: str) -> None:
        with _translated():
            self._path(GROUP_PREFIX, group_id).unlink(missing_ok=True)

    def close(self) -> None:
        pass

    def _path(self, kind: str, name: str) -> Path:
        # An id comes from a message: it must not name a file elsewhere.
        quoted = urllib.parse.quote(name, safe="").replace(".", "%2E")
        return self._folder / f"{self._prefix}{kind}{quoted}"

    def _fresh(self, path: Path) -> bytes | None:
        """The file's content unless it has expired."""
        try:
            with path.open("rb") as file:
                if self._expires is not None and os.fstat(file.fileno()).st_mtime + self._expires <= self._clock.time():
                    return None
                return file.read()
        except FileNotFoundError:
            return None

    def _replace(self, path: Path, value: bytes) -> None:
        beside = path.with_name(f".{os.getpid()}.{threading.get_ident()}.new")
        with beside.open("wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def _precedence(self, value: bytes | None) -> int:
        try:
            return -1 if value is None else self._codec.precedence_of(value)
        except MessageError:
            return -1  # what nobody can read may be replaced

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        number = hashlib.blake2b(path.name.encode(), digest_size=2).digest()[0] % _LOCKS
        with (self._folder / f".lock-{number}").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _clean(self) -> None:
        if self._expires is None:
            return
        now = self._clock.monotonic()
        with self._clean_lock:
            if now < self._clean_at:
                return
            self._clean_at = now + _CLEANING
        oldest = self._clock.time() - self._expires
        for entry in os.scandir(self._folder):
            # The folder may hold what is not ours.
            if entry.name.startswith((self._prefix + TASK_PREFIX, self._prefix + GROUP_PREFIX)):
                try:
                    if entry.stat().st_mtime <= oldest:
                        os.unlink(entry.path)
                except FileNotFoundError:
                    logger.debug("%s is gone already", entry.name, extra=event("cleanup"))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendFailed(f"the folder of results: {error}") from error


def create(setup: BackendSetup) -> StoredResults:
    """The backend `filesystem`; `url` is a path or a file:// URL."""
    if not setup.url:
        raise ConfigError(
            [Problem(message="the filesystem result backend needs results.url", hint="file:///var/lib/results")]
        )
    parts = urllib.parse.urlsplit(setup.url)
    folder = Path(urllib.parse.unquote(parts.path) if parts.scheme == "file" else setup.url)
    store = FileStore(folder, setup.codec, prefix=setup.prefix, expires=setup.expires, clock=setup.clock)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
