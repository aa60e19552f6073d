"""Results in Redis, in Celery's keys and values (`celery/backends/redis.py`), with news pushed by publish/subscribe.

Celery reads a key and then writes it; here a script does both, so that two writers cannot undo each other.
"""

import collections
import random
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import redis
from redis.exceptions import NoScriptError, RedisError

from amqtask.errors import BackendFailed, MessageError
from amqtask.log import event, get_logger
from amqtask.results.codec import Record
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import StoredResults
from amqtask.results.watchers import Watchers

logger = get_logger("results")

TASK_KEY = "celery-task-meta-"
GROUP_KEY = "celery-taskset-meta-"

_HEALTH = 20.0
"""Seconds between two looks at whether the subscribed connection lives."""

# KEYS: the task's key, also the channel. ARGV: precedence, value, milliseconds to live ('' for ever).
# The precedence of a value that Celery wrote is that of its state; of one in a frame it is in the first line.
_WRITE = """
local old = redis.call('GET', KEYS[1])
if old then
  local known = nil
  if string.sub(old, 1, 5) == 'aqt1 ' then
    known = tonumber(string.match(old, '^aqt1 (%d+)'))
  else
    local ok, report = pcall(cjson.decode, old)
    if ok and type(report) == 'table' then
      known = tonumber(report['precedence'])
      if not known then
        known = ({SUCCESS = 4e14, FAILURE = 3e14, REVOKED = 2e14, REJECTED = 1e14})[report['status']]
      end
    end
  end
  if known and known > tonumber(ARGV[1]) then return 0 end
end
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 1
"""


class RedisStore:
    """Keys of Celery's names behind a prefix."""

    def __init__(self, client: redis.Redis, *, prefix: str = "", expires: float | None = 86400.0) -> None:
        self.client = client
        self._prefix = _joined(prefix)
        self._expires_ms = None if expires is None else max(1, int(expires * 1000))
        self._sha: str | None = None

    def key(self, task_id: str) -> str:
        """The key of a task's report, and the channel of its news."""
        return f"{self._prefix}{TASK_KEY}{task_id}"

    def task_id(self, key: str) -> str:
        """The task of such a key."""
        return key[len(self._prefix) + len(TASK_KEY) :]

    def write(self, records: Sequence[Record]) -> None:
        with _translated():
            if self._sha is None:
                self._sha = str(self.client.script_load(_WRITE))
            pipeline = self.client.pipeline(transaction=False)
            for record in records:
                pipeline.evalsha(
                    self._sha,
                    1,
                    self.key(record.result.task_id),
                    record.precedence,
                    record.value,
                    "" if self._expires_ms is None else self._expires_ms,
                )
            try:
                pipeline.execute()
            except NoScriptError as error:
                # The server was restarted or flushed; writing again is harmless.
                self._sha = None
                raise BackendFailed("Redis has forgotten the script") from error

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        with _translated():
            values = self.client.mget([self.key(task_id) for task_id in task_ids])
        return {task_id: value for task_id, value in zip(task_ids, values, strict=True) if isinstance(value, bytes)}

    def delete(self, task_id: str) -> None:
        with _translated():
            self.client.delete(self.key(task_id))

    def write_group(self, group_id: str, value: bytes) -> None:
        with _translated():
            self.client.set(self._group_key(group_id), value, px=self._expires_ms)

    def read_group(self, group_id: str) -> bytes | None:
        with _translated():
            value = self.client.get(self._group_key(group_id))
        return value if isinstance(value, bytes) else None

    def delete_group(self, group_id: str) -> None:
        with _translated():
            self.client.delete(self._group_key(group_id))

    def read_size(self, group_id: str) -> int | None:
        """The number of members of a chord, where Celery's clients write it before they send the last of them."""
        with _translated():
            value = self.client.get(self._size_key(group_id))
        return int(value) if isinstance(value, bytes) else None

    def delete_size(self, group_id: str) -> None:
        """Drop it, so that a member that comes again finds the chord over."""
        with _translated():
            self.client.delete(self._size_key(group_id))

    def close(self) -> None:
        self.client.close()

    def _size_key(self, group_id: str) -> str:
        return f"{self._group_key(group_id)}.s"

    def _group_key(self, group_id: str) -> str:
        return f"{self._prefix}{GROUP_KEY}{group_id}"


class RedisResults(StoredResults):
    """Reports in a RedisStore, and the sizes of the chords of Celery's clients."""

    def __init__(self, store: RedisStore, setup: BackendSetup) -> None:
        super().__init__(store, setup, lambda _, watchers: Subscriber(store, watchers, setup))
        self._redis = store

    def chord_size(self, group_id: str) -> int | None:
        return self._reading.call(lambda: self._redis.read_size(group_id))

    def forget_chord_size(self, group_id: str) -> None:
        self._reading.call(lambda: self._redis.delete_size(group_id))


class Subscriber:
    """A Lookout: one connection that subscribes to the keys of those who wait, and asks once for what is there already.

    One thread owns the connection and reads. Another wakes it, by a message on a channel of its own, when somebody
    begins to wait: no connection of redis-py can be shared by two threads. What is lost with a connection is made good
    by subscribing and asking again on the next one.
    """

    def __init__(self, store: RedisStore, watchers: Watchers, setup: BackendSetup) -> None:
        self._store = store
        self._watchers = watchers
        self._setup = setup
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._changes: collections.deque[tuple[str, bool]] = collections.deque()
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._wake_channel = f"{store.key('wake')}-{uuid.uuid4().hex}"
        self._threads = [
            threading.Thread(target=self._run, name="amqtask-results-redis", daemon=True),
            threading.Thread(target=self._wake, name="amqtask-results-wake", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def watch(self, task_id: str) -> None:
        with self._lock:
            self._wanted.add(task_id)
            # Subscribing twice is harmless, and is answered, so that a second watcher is told of the present report.
            self._changes.append((task_id, True))
        self._changed.set()

    def unwatch(self, task_id: str) -> None:
        with self._lock:
            if task_id not in self._watchers:
                self._wanted.discard(task_id)
                self._changes.append((task_id, False))
        # Not woken for: nobody waits for the end of a subscription.

    def close(self) -> None:
        self._closed.set()
        self._changed.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(5.0)

    def _wake(self) -> None:
        while not self._closed.is_set():
            self._changed.wait()
            self._changed.clear()
            try:
                self._store.client.publish(self._wake_channel, b"")
            except (RedisError, OSError) as error:
                # The other thread has lost its connection too, and subscribes to all that is wanted on the next one.
                logger.debug("the subscriber could not be woken: %s", error, extra=event("store-down"))

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            pubsub: _PubSub = self._store.client.pubsub()  # type: ignore[no-untyped-call]  # redis-py has no type here
            try:
                self._subscribe_all(pubsub)
                failures = 0
                self._read(pubsub)
            except (RedisError, OSError, BackendFailed) as error:
                failures += 1
                if failures == 1:
                    logger.warning("no news from Redis: %s; trying again", error, extra=event("store-down"))
                self._closed.wait(self._setup.backoff.delay(failures, random.random()))
            finally:
                pubsub.close()

    def _subscribe_all(self, pubsub: "_PubSub") -> None:
        with self._lock:
            self._changes.clear()
            keys = [self._store.key(task_id) for task_id in self._wanted]
        pubsub.subscribe(self._wake_channel, *keys)

    def _read(self, pubsub: "_PubSub") -> None:
        fresh: list[str] = []
        while not self._closed.is_set():
            self._change(pubsub)
            message = pubsub.get_message(timeout=0 if fresh else _HEALTH)
            if message is None:
                self._tell_present(fresh)
                fresh = []
                continue
            key = message["channel"].decode()
            if key == self._wake_channel:
                continue
            if message["type"] == "subscribe":
                fresh.append(self._store.task_id(key))
            elif message["type"] == "message":
                self._tell({self._store.task_id(key): message["data"]})

    def _change(self, pubsub: "_PubSub") -> None:
        with self._lock:
            if not self._changes:
                return
            begun = [self._store.key(task_id) for task_id, begins in self._changes if begins]
            ended = [
                self._store.key(task_id)
                for task_id, begins in self._changes
                if not begins and task_id not in self._wanted
            ]
            self._changes.clear()
        if ended:
            pubsub.unsubscribe(*ended)
        if begun:
            pubsub.subscribe(*begun)

    def _tell_present(self, task_ids: Sequence[str]) -> None:
        for start in range(0, len(task_ids), 500):
            self._tell(self._store.read(task_ids[start : start + 500]))

    def _tell(self, values: Mapping[str, bytes]) -> None:
        for task_id, value in values.items():
            try:
                self._watchers.tell(self._setup.codec.unpack(value))
            except MessageError as error:
                self._watchers.end(
                    BackendFailed(f"the stored result of task {task_id} cannot be read: {error}"), [task_id]
                )


class _PubSub(Protocol):
    """What is used of redis-py's PubSub, whose methods have no types."""

    def subscribe(self, *channels: str) -> object: ...
    def unsubscribe(self, *channels: str) -> object: ...
    def get_message(self, *, timeout: float) -> Any: ...
    def close(self) -> None: ...


def _joined(prefix: str) -> str:
    """Celery puts an underscore behind a `global_keyprefix` that does not end with a separator."""
    return prefix if not prefix or prefix[-1] in ":_-." else f"{prefix}_"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise BackendFailed(f"Redis: {error}") from error


def create(setup: BackendSetup) -> RedisResults:
    """The backend `redis`; `url` is redis:// or rediss://, `options` go to `redis.Redis`."""
    options: dict[str, object] = {
        "socket_connect_timeout": setup.connect_timeout,
        "socket_timeout": setup.connect_timeout,
        "socket_keepalive": True,
        "health_check_interval": int(_HEALTH),
        **setup.options,
        "protocol": 2,
        "decode_responses": False,
    }
    client = redis.Redis.from_url(setup.url or "redis://localhost:6379/0", **options)
    return RedisResults(RedisStore(client, prefix=setup.prefix, expires=setup.expires), setup)
