"""Results in memcached, under Celery's keys, by compare-and-swap."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheError, MemcacheServerError

from amqtask.errors import BackendFailed, MessageError, MessageTooLarge
from amqtask.results.codec import Record, ResultCodec
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

TASK_KEY = "celery-task-meta-"
GROUP_KEY = "celery-taskset-meta-"

_ATTEMPTS = 100
_MONTH = 30 * 86400
"""memcached takes a greater number of seconds for an instant since the epoch."""


class MemcachedStore:
    """Keys of Celery's names behind a prefix."""

    def __init__(self, client: HashClient, codec: ResultCodec, *, prefix: str, expires: float | None) -> None:
        self._client = client
        self._codec = codec
        self._prefix = prefix
        self._expire = 0 if expires is None else max(1, min(int(expires), _MONTH))

    def write(self, records: Sequence[Record]) -> None:
        with _translated():
            for record in records:
                self._write(record)

    def _write(self, record: Record) -> None:
        key = self._task_key(record.result.task_id)
        for _ in range(_ATTEMPTS):
            if self._client.add(key, record.value, expire=self._expire, noreply=False):
                return
            value, token = self._client.gets(key)
            if value is None:
                continue  # it expired in between
            if self._precedence(value) > record.precedence:
                return
            if self._client.cas(key, record.value, token, expire=self._expire, noreply=False):
                return
        raise BackendFailed(f"memcached: others keep writing {key}")

    def _precedence(self, value: bytes) -> int:
        try:
            return self._codec.precedence_of(value)
        except MessageError:
            return -1  # what nobody can read may be replaced

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        keys = {self._task_key(task_id): task_id for task_id in task_ids}
        with _translated():
            return {keys[key]: value for key, value in self._client.get_many(list(keys)).items()}

    def delete(self, task_id: str) -> None:
        with _translated():
            self._client.delete(self._task_key(task_id), noreply=False)

    def write_group(self, group_id: str, value: bytes) -> None:
        with _translated():
            self._client.set(self._group_key(group_id), value, expire=self._expire, noreply=False)

    def read_group(self, group_id: str) -> bytes | None:
        with _translated():
            value: bytes | None = self._client.get(self._group_key(group_id))
        return value

    def delete_group(self, group_id: str) -> None:
        with _translated():
            self._client.delete(self._group_key(group_id), noreply=False)

    def close(self) -> None:
        self._client.close()

    def _task_key(self, task_id: str) -> str:
        return f"{self._prefix}{TASK_KEY}{task_id}"

    def _group_key(self, group_id: str) -> str:
        return f"{self._prefix}{GROUP_KEY}{group_id}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except MemcacheServerError as error:
        if "too large" in str(error):
            raise MessageTooLarge(
                "memcached takes no value of this size; it can be started with a greater -I"
            ) from error
        raise BackendFailed(f"memcached: {error}") from error
    except (MemcacheError, OSError) as error:
        raise BackendFailed(f"memcached: {error or type(error).__name__}") from error
    except ValueError as error:
        # pymemcache's HashClient takes a server that failed off its list; of two threads that find it dead at once, the
        # second is told that it is not there any more.
        if "No such node" not in str(error):
            raise
        raise BackendFailed("memcached: the server is down") from error


def create(setup: BackendSetup) -> StoredResults:
    """The backend `memcached`; `url` is `memcached://host:port[;host:port…]`, `options` go to pymemcache's HashClient.

    A value is at most 1 MiB unless the servers run with a greater `-I`.
    """
    servers = (setup.url or "localhost:11211").removeprefix("memcached://").removeprefix("cache+memcached://")
    options: dict[str, object] = {
        "connect_timeout": setup.connect_timeout,
        "timeout": setup.connect_timeout,
        "use_pooling": True,
        "retry_attempts": 0,
        "dead_timeout": 0,
        **setup.options,
    }
    client = HashClient([server.strip("/") for server in servers.split(";")], **options)
    store = MemcachedStore(client, setup.codec, prefix=setup.prefix, expires=setup.expires)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
