"""Results in Elasticsearch: a document a task, whose external version is the report's precedence.

Elasticsearch itself then refuses to replace a document by one of a smaller version
(https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-index, `version_type=external_gte`).
"""

import base64
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError, TransportError

from amqtask.clock import Clock
from amqtask.errors import BackendFailed
from amqtask.results.codec import Record
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

_CONFLICT = 409
_CLEANING = 300.0

_MAPPINGS: dict[str, object] = {
    "dynamic": False,
    "properties": {
        "status": {"type": "keyword"},
        "name": {"type": "keyword"},
        "date_done": {"type": "date"},
        "expires_at": {"type": "double"},
        "value": {"type": "binary"},
    },
}


class ElasticStore:
    """Two indices. Documents say when they expire; a process that writes deletes such ones now and then."""

    def __init__(self, client: Elasticsearch, *, prefix: str, expires: float | None, clock: Clock) -> None:
        self._client = client
        # Names of indices are lower case, and do not begin with an underscore.
        self._results = f"{prefix}amqtask-results".lower()
        self._groups = f"{prefix}amqtask-groups".lower()
        self._expires = expires
        self._clock = clock
        self._lock = threading.Lock()
        self._made = False
        self._clean_at = clock.monotonic() + _CLEANING

    def write(self, records: Sequence[Record]) -> None:
        operations: list[Mapping[str, object]] = []
        for record in records:
            report = record.result
            operations.append(
                {"index": {"_id": report.task_id, "version": record.precedence, "version_type": "external_gte"}}
            )
            operations.append(
                {
                    "status": report.status,
                    "name": report.name,
                    "date_done": None if report.date_done is None else report.date_done.isoformat(),
                    "expires_at": self._expires_at(),
                    "value": base64.b64encode(record.value).decode("ascii"),
                }
            )
        with self._ready():
            answer = self._client.bulk(index=self._results, operations=operations)
            for item in answer["items"]:
                outcome = item["index"]
                if outcome["status"] >= 300 and outcome["status"] != _CONFLICT:
                    raise BackendFailed(f"Elasticsearch refused a result: {outcome.get('error')}")
            self._clean()

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        with self._ready():
            # By id Elasticsearch reads what was just written; a search would not see it for a second.
            answer = self._client.mget(index=self._results, ids=list(task_ids))
        return {document["_id"]: _value(document) for document in answer["docs"] if self._is_fresh(document)}

    def delete(self, task_id: str) -> None:
        with self._ready():
            self._delete(self._results, task_id)

    def write_group(self, group_id: str, value: bytes) -> None:
        with self._ready():
            document = {"expires_at": self._expires_at(), "value": base64.b64encode(value).decode("ascii")}
            self._client.index(index=self._groups, id=group_id, document=document)

    def read_group(self, group_id: str) -> bytes | None:
        with self._ready():
            answer = self._client.mget(index=self._groups, ids=[group_id])
        document = answer["docs"][0]
        return _value(document) if self._is_fresh(document) else None

    def delete_group(self, group_id: str) -> None:
        with self._ready():
            self._delete(self._groups, group_id)

    def close(self) -> None:
        self._client.close()

    def _delete(self, index: str, document_id: str) -> None:
        try:
            self._client.delete(index=index, id=document_id)
        except NotFoundError:
            return

    def _expires_at(self) -> float | None:
        return None if self._expires is None else self._clock.time() + self._expires

    def _is_fresh(self, document: Mapping[str, object]) -> bool:
        source = document.get("_source")
        if not document.get("found") or not isinstance(source, Mapping):
            return False
        expires_at = source.get("expires_at")
        return expires_at is None or expires_at > self._clock.time()

    def _clean(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if now < self._clean_at:
                return
            self._clean_at = now + _CLEANING
        self._client.delete_by_query(
            index=f"{self._results},{self._groups}",
            query={"range": {"expires_at": {"lte": self._clock.time()}}},
            conflicts="proceed",
            wait_for_completion=False,
        )

    @contextmanager
    def _ready(self) -> Iterator[None]:
        try:
            with self._lock:
                if not self._made:
                    self._make(self._results)
                    self._make(self._groups)
                    self._made = True
            yield
        except (ApiError, TransportError) as error:
            raise BackendFailed(f"Elasticsearch: {error}") from error

    def _make(self, index: str) -> None:
        if self._client.indices.exists(index=index):
            return
        try:
            self._client.indices.create(index=index, mappings=_MAPPINGS)
        except BadRequestError as error:
            # Another process was faster.
            if error.error != "resource_already_exists_exception":
                raise


def _value(document: Mapping[str, object]) -> bytes:
    source = document["_source"]
    if not isinstance(source, Mapping):
        raise BackendFailed("Elasticsearch: a document has no source")
    return base64.b64decode(str(source["value"]))


def create(setup: BackendSetup) -> StoredResults:
    """The backend `elasticsearch`; `url` is http(s)://…, `options` go to `Elasticsearch`."""
    options: dict[str, object] = {"request_timeout": setup.connect_timeout, **setup.options}
    client = Elasticsearch(setup.url or "http://localhost:9200", **options)  # type: ignore[arg-type]  # 60 options, each of its own type
    store = ElasticStore(client, prefix=setup.prefix, expires=setup.expires, clock=setup.clock)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
