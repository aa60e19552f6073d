"""Results in Cassandra: a row a task, replaced by lightweight transactions, which are Cassandra's compare-and-set."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from cassandra import DriverException, RequestExecutionException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable, ResultSet, Session
from cassandra.query import PreparedStatement

from amqtask.errors import BackendFailed, ConfigError, Problem
from amqtask.results.codec import Record
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

_ATTEMPTS = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")


class CassandraStore:
    """Two tables of a keyspace, which are made if they are not there. Rows carry a time to live."""

    def __init__(self, cluster: Callable[[], Cluster], keyspace: str, *, prefix: str, expires: float | None) -> None:
        if not _NAME.fullmatch(keyspace) or not re.fullmatch(r"\w*", prefix):
            raise ConfigError([Problem(message=f"{keyspace!r} is no name of a keyspace, or {prefix!r} of a table")])
        self._make_cluster = cluster
        self._cluster: Cluster | None = None
        self._keyspace = keyspace
        self._results = f"{keyspace}.{prefix}amqtask_results"
        self._groups = f"{keyspace}.{prefix}amqtask_groups"
        # 0 means for ever.
        self._ttl = 0 if expires is None else max(1, int(expires))
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._statements: dict[str, PreparedStatement] = {}

    def write(self, records: Sequence[Record]) -> None:
        for record in records:
            self._write(record)

    def _write(self, record: Record) -> None:
        task_id, number, value = record.result.task_id, record.precedence, record.value
        for _ in range(_ATTEMPTS):
            insert = self._execute(
                f"INSERT INTO {self._results} (task_id, precedence, status, value) VALUES (?, ?, ?, ?)"
                " IF NOT EXISTS USING TTL ?",
                (task_id, number, record.result.status, value, self._ttl),
            )
            if insert.was_applied:
                return
            update = self._execute(
                f"UPDATE {self._results} USING TTL ? SET precedence = ?, status = ?, value = ? WHERE task_id = ?"
                " IF precedence <= ?",
                (self._ttl, number, record.result.status, value, task_id, number),
            )
            if update.was_applied:
                return
            there = self._execute(f"SELECT precedence FROM {self._results} WHERE task_id = ?", (task_id,)).one()
            if there is not None and there.precedence is not None and there.precedence > number:
                return
        raise BackendFailed(f"Cassandra: others keep writing the result of task {task_id}")

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for task_id in task_ids:
            row = self._execute(f"SELECT value FROM {self._results} WHERE task_id = ?", (task_id,)).one()
            if row is not None and row.value is not None:
                found[task_id] = bytes(row.value)
        return found

    def delete(self, task_id: str) -> None:
        # Conditional too: a plain one is not ordered with the transactions.
        self._execute(f"DELETE FROM {self._results} WHERE task_id = ? IF EXISTS", (task_id,))

    def write_group(self, group_id: str, value: bytes) -> None:
        self._execute(
            f"INSERT INTO {self._groups} (group_id, value) VALUES (?, ?) USING TTL ?", (group_id, value, self._ttl)
        )

    def read_group(self, group_id: str) -> bytes | None:
        row = self._execute(f"SELECT value FROM {self._groups} WHERE group_id = ?", (group_id,)).one()
        return None if row is None else bytes(row.value)

    def delete_group(self, group_id: str) -> None:
        self._execute(f"DELETE FROM {self._groups} WHERE group_id = ?", (group_id,))

    def close(self) -> None:
        with self._lock:
            if self._cluster is not None:
                self._cluster.shutdown()

    def _execute(self, query: str, values: tuple[object, ...]) -> ResultSet:
        with _translated():
            session = self._connected()
            statement = self._statements.get(query)
            if statement is None:
                statement = self._statements[query] = session.prepare(query)
            return session.execute(statement, values)

    def _connected(self) -> Session:
        with self._lock:
            if self._session is None:
                # A cluster that could not be reached is shut down for good, so each try has its own.
                self._cluster = self._make_cluster()
                session = self._cluster.connect()
                session.execute(
                    f"CREATE KEYSPACE IF NOT EXISTS {self._keyspace}"
                    " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
                )
                session.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._results}"
                    " (task_id text PRIMARY KEY, precedence bigint, status text, value blob)"
                )
                session.execute(f"CREATE TABLE IF NOT EXISTS {self._groups} (group_id text PRIMARY KEY, value blob)")
                self._session = session
            return self._session


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (NoHostAvailable, DriverException, RequestExecutionException, OSError) as error:
        raise BackendFailed(f"Cassandra: {error}") from error


def create(setup: BackendSetup) -> StoredResults:
    """The backend `cassandra`; `url` is `cassandra://user:password@host,host:port/KEYSPACE`, `options` go to Cluster.

    A keyspace that is not there is made with one replica; make it yourself for more.
    """
    parts = urlsplit(setup.url or "cassandra://localhost/amqtask")
    hosts, _, port = parts.netloc.rpartition("@")[2].partition(":")
    options: dict[str, object] = {"connect_timeout": setup.connect_timeout, **setup.options}
    if parts.username is not None:
        options["auth_provider"] = PlainTextAuthProvider(unquote(parts.username), unquote(parts.password or ""))

    def make_cluster() -> Cluster:
        return Cluster(hosts.split(","), port=int(port or 9042), **options)

    store = CassandraStore(make_cluster, parts.path.strip("/") or "amqtask", prefix=setup.prefix, expires=setup.expires)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
