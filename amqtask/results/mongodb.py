"""Results in MongoDB: one document a task, replaced by one conditional update."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias

from pymongo import MongoClient, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from amqtask.clock import Clock
from amqtask.errors import BackendFailed
from amqtask.results.codec import Record
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

Document: TypeAlias = dict[str, object]

_DUPLICATE_KEY = 11000


class MongoStore:
    """Two collections; the server deletes what has expired, about once a minute."""

    def __init__(
        self, client: "MongoClient[Document]", database: str, *, prefix: str, expires: float | None, clock: Clock
    ) -> None:
        self._client = client
        self._results: Collection[Document] = client[database][f"{prefix}results"]
        self._groups: Collection[Document] = client[database][f"{prefix}groups"]
        self._expires = expires
        self._clock = clock
        self._indexed = False

    def write(self, records: Sequence[Record]) -> None:
        with self._ready():
            try:
                self._results.bulk_write([self._update(record, upsert=True) for record in records], ordered=False)
            except BulkWriteError as error:
                self._write_refused(records, error)

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        with self._ready():
            found = self._results.find({"_id": {"$in": list(task_ids)}, **self._fresh()}, {"value": 1})
            return {str(document["_id"]): _bytes(document) for document in found}

    def delete(self, task_id: str) -> None:
        with self._ready():
            self._results.delete_one({"_id": task_id})

    def write_group(self, group_id: str, value: bytes) -> None:
        with self._ready():
            document: Document = {"value": value, "expires_at": self._expires_at()}
            self._groups.replace_one({"_id": group_id}, document, upsert=True)

    def read_group(self, group_id: str) -> bytes | None:
        with self._ready():
            document = self._groups.find_one({"_id": group_id, **self._fresh()})
        return None if document is None else _bytes(document)

    def delete_group(self, group_id: str) -> None:
        with self._ready():
            self._groups.delete_one({"_id": group_id})

    def close(self) -> None:
        self._client.close()

    def _write_refused(self, records: Sequence[Record], error: BulkWriteError) -> None:
        """What an upsert refused as a duplicate lost against a greater report, or came at the same time as another."""
        refused = (error.details or {}).get("writeErrors", [])
        if any(each.get("code") != _DUPLICATE_KEY for each in refused):
            raise error
        again = [self._update(records[each["index"]], upsert=False) for each in refused]
        self._results.bulk_write(again, ordered=False)

    def _update(self, record: Record, *, upsert: bool) -> "UpdateOne":
        report = record.result
        return UpdateOne(
            {"_id": report.task_id, "precedence": {"$lte": record.precedence}},
            {
                "$set": {
                    "value": record.value,
                    "precedence": record.precedence,
                    "status": report.status,
                    "name": report.name,
                    "date_done": report.date_done,
                    "expires_at": self._expires_at(),
                }
            },
            upsert=upsert,
        )

    def _expires_at(self) -> datetime | None:
        return None if self._expires is None else datetime.fromtimestamp(self._clock.time() + self._expires, UTC)

    def _fresh(self) -> Document:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return {"$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}

    @contextmanager
    def _ready(self) -> Iterator[None]:
        try:
            if not self._indexed:
                for collection in (self._results, self._groups):
                    collection.create_index("expires_at", expireAfterSeconds=0)
                self._indexed = True
            yield
        except PyMongoError as error:
            raise BackendFailed(f"MongoDB: {error}") from error


def _bytes(document: Document) -> bytes:
    value = document["value"]
    if not isinstance(value, bytes):
        raise BackendFailed("MongoDB: a document's value is not binary")
    return value


def create(setup: BackendSetup) -> StoredResults:
    """The backend `mongodb`; `url` is mongodb://…/DATABASE (amqtask by default), `options` go to MongoClient."""
    timeout_ms = int(setup.connect_timeout * 1000)
    options: dict[str, Any] = {
        "serverSelectionTimeoutMS": timeout_ms,
        "connectTimeoutMS": timeout_ms,
        **setup.options,
    }
    client: MongoClient[Document] = MongoClient(setup.url or "mongodb://localhost:27017/", **options)
    database = client.get_default_database("amqtask").name
    store = MongoStore(client, database, prefix=setup.prefix, expires=setup.expires, clock=setup.clock)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
