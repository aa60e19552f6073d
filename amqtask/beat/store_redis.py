"""Beat's book in Redis: a hash for the leader, one for the states, one for the edits.

Changes are transactions that look at the leader's hash first (WATCH, MULTI), so that a fenced one does not get through.
"""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis

from amqtask.beat.book import VERSION, Book, Kept, Overlay, patched
from amqtask.beat.store import PATIENCE, StoreSetup, url_of
from amqtask.errors import BeatStoreFailed, Fenced, InvalidSchedule


def create(setup: StoreSetup) -> "RedisStore":
    """The store of these settings."""
    url = url_of(setup, "redis", "redis://localhost:6379/0")
    client = redis.Redis.from_url(
        url, socket_connect_timeout=5, socket_timeout=PATIENCE, health_check_interval=30, **setup.options
    )
    return RedisStore(client, prefix=f"aqt:beat:{{{setup.name}}}")


class RedisStore:
    """The book in three hashes. The braces in their names keep them on one node of a cluster."""

    def __init__(self, client: "redis.Redis", *, prefix: str) -> None:
        self._client = client
        self._leader, self._states, self._edits = (f"{prefix}:{name}" for name in ("leader", "states", "edits"))
        self._holder = uuid.uuid4().hex

    def load(self) -> Book:
        with _translated():
            self._check(self._client.hgetall(self._leader))
            states = self._client.hgetall(self._states)
            edits = self._client.hgetall(self._edits)
        return _book(states, edits)

    def take_over(self) -> tuple[int, Book]:
        def take(leader: dict[str, Any], pipe: "redis.client.Pipeline") -> None:
            pipe.hset(self._leader, mapping={"v": VERSION, "epoch": leader["epoch"] + 1, "holder": self._holder})

        epoch = self._change(take) + 1
        return epoch, self.load()

    def save(self, epoch: int, states: Mapping[str, Kept | None]) -> None:
        def put(leader: dict[str, Any], pipe: "redis.client.Pipeline") -> None:
            if (leader["epoch"], leader["holder"]) != (epoch, self._holder):
                raise Fenced
            for name, kept in states.items():
                if kept is None:
                    pipe.hdel(self._states, name)
                else:
                    pipe.hset(self._states, name, json.dumps(kept.to_json()))

        self._change(put)

    def edit(self, name: str, patch: Overlay | None) -> None:
        def put(leader: dict[str, Any], pipe: "redis.client.Pipeline") -> None:
            old = self._client.hget(self._edits, name)
            overlay = patched(None if old is None else json.loads(old), patch)
            if overlay is None:
                pipe.hdel(self._edits, name)
            else:
                pipe.hset(self._edits, name, json.dumps(overlay))

        self._change(put, self._edits)

    def idle(self) -> None:
        """redis-py looks after its connections."""

    def close(self) -> None:
        self._client.close()

    def _change(self, change: "Callable[[dict[str, Any], redis.client.Pipeline], None]", *watched: str) -> int:
        """Change something in a transaction; the epoch before."""
        with _translated(), self._client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(self._leader, *watched)  # type: ignore[no-untyped-call]  # redis-py
                    leader = self._check(pipe.hgetall(self._leader))
                    pipe.multi()
                    change(leader, pipe)
                    pipe.execute()
                except redis.WatchError:
                    continue
                epoch: int = leader["epoch"]
                return epoch

    def _check(self, leader: Any) -> dict[str, Any]:
        form = {key.decode(): value.decode() for key, value in leader.items()}
        version = form.get("v", str(VERSION))
        if version != str(VERSION):
            raise BeatStoreFailed(f"beat's state in Redis is of version {version}; this beat knows {VERSION}")
        return {"epoch": int(form.get("epoch", 0)), "holder": form.get("holder", "")}


def _book(states: Any, edits: Any) -> Book:
    try:
        return Book(
            states={name.decode(): Kept.from_json(json.loads(form)) for name, form in states.items()},
            edits={name.decode(): json.loads(form) for name, form in edits.items()},
        )
    except InvalidSchedule as error:
        raise BeatStoreFailed(str(error)) from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise BeatStoreFailed(f"beat's state in Redis: {error}") from error
