"""Results in an SQL database, through SQLAlchemy: PostgreSQL, MariaDB and MySQL, SQLite, and others that it knows.

That a lesser report never replaces a greater one is the database's own work: one conditional statement a report.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from amqtask.clock import Clock
from amqtask.errors import BackendFailed, ConfigError, Problem
from amqtask.log import event, get_logger
from amqtask.results.codec import Record
from amqtask.results.notified import Listening, Notified
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Lookout, Store, StoredResults
from amqtask.results.watchers import Watchers

logger = get_logger("results")

_CLEANING = 300.0
"""Seconds between two rounds in which a process that writes deletes what has expired."""

_NEVER = 1e18

_NOTIFY = sqlalchemy.text("SELECT pg_notify(:channel, id) FROM unnest(CAST(:task_ids AS text[])) AS id")


@dataclass(frozen=True, slots=True)
class Tables:
    """The two tables."""

    results: sqlalchemy.Table
    groups: sqlalchemy.Table


def make_tables(prefix: str = "amqtask_") -> Tables:
    """The tables `<prefix>results` and `<prefix>groups`.

    `value` holds the report; the columns beside it are for people and their queries. `expires_at` is seconds since the
    epoch.
    """
    metadata = sqlalchemy.MetaData()
    # MySQL's BLOB ends at 64 KiB.
    binary = sqlalchemy.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")

    def expiry() -> sqlalchemy.Column[float]:
        return sqlalchemy.Column("expires_at", sqlalchemy.Double, nullable=False, index=True)

    results = sqlalchemy.Table(
        f"{prefix}results",
        metadata,
        sqlalchemy.Column("task_id", sqlalchemy.String(155), primary_key=True),
        sqlalchemy.Column("status", sqlalchemy.String(50), nullable=False),
        sqlalchemy.Column("name", sqlalchemy.String(255)),
        sqlalchemy.Column("date_done", sqlalchemy.String(40)),
        sqlalchemy.Column("value", binary, nullable=False),
        expiry(),
        # Last, because MySQL assigns in this order and the others are compared with it.
        sqlalchemy.Column("precedence", sqlalchemy.BigInteger, nullable=False),
    )
    groups = sqlalchemy.Table(
        f"{prefix}groups",
        metadata,
        sqlalchemy.Column("group_id", sqlalchemy.String(155), primary_key=True),
        sqlalchemy.Column("value", binary, nullable=False),
        expiry(),
    )
    return Tables(results, groups)


class SqlStore:
    """Two tables, made when they are first needed."""

    def __init__(self, engine: sqlalchemy.Engine, *, tables: Tables, expires: float | None, clock: Clock) -> None:
        self._engine = engine
        self._tables = tables
        self._expires = expires
        self._clock = clock
        self._lock = threading.Lock()
        self._made = False
        self._clean_at = 0.0
        self._upsert = _upsert(engine.dialect.name, tables.results)
        self.channel = tables.results.name if engine.dialect.name == "postgresql" else None
        """Where PostgreSQL tells of what was written, by task ids."""

    def write(self, records: Sequence[Record]) -> None:
        expires_at = self._expires_at()
        # In the same order everywhere, so that two writers of the same rows do not lock each other out.
        rows = [_row(record, expires_at) for record in sorted(records, key=lambda record: record.result.task_id)]
        with self._begin() as connection:
            if self._upsert is not None:
                connection.execute(self._upsert, rows)
            else:
                for row in rows:
                    self._write_row(connection, row)
            if self.channel is not None:
                task_ids = [record.result.task_id for record in records]
                connection.execute(_NOTIFY, {"channel": self.channel, "task_ids": task_ids})
        self._clean()

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        table = self._tables.results
        query = sqlalchemy.select(table.c.task_id, table.c.value).where(
            table.c.task_id.in_(task_ids), table.c.expires_at > self._clock.time()
        )
        with self._begin() as connection:
            return {task_id: bytes(value) for task_id, value in connection.execute(query)}

    def delete(self, task_id: str) -> None:
        table = self._tables.results
        with self._begin() as connection:
            connection.execute(table.delete().where(table.c.task_id == task_id))

    def write_group(self, group_id: str, value: bytes) -> None:
        table = self._tables.groups
        with self._begin() as connection:
            connection.execute(table.delete().where(table.c.group_id == group_id))
            connection.execute(table.insert().values(group_id=group_id, value=value, expires_at=self._expires_at()))

    def read_group(self, group_id: str) -> bytes | None:
        table = self._tables.groups
        query = sqlalchemy.select(table.c.value).where(
            table.c.group_id == group_id, table.c.expires_at > self._clock.time()
        )
        with self._begin() as connection:
            value = connection.execute(query).scalar()
        return None if value is None else bytes(value)

    def delete_group(self, group_id: str) -> None:
        table = self._tables.groups
        with self._begin() as connection:
            connection.execute(table.delete().where(table.c.group_id == group_id))

    def listen(self) -> Listening:
        """A connection of psycopg 3 that listens to `channel`; it is not the pool's any more."""
        with _translated():
            pooled = self._engine.raw_connection()
            # Before it is detached: afterwards the pool's wrapper knows of none.
            connection: Any = pooled.driver_connection
            pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(f'LISTEN "{self.channel}"')
        except BaseException:
            connection.close()
            raise
        listening: Listening = connection
        return listening

    def close(self) -> None:
        self._engine.dispose()

    def _expires_at(self) -> float:
        return _NEVER if self._expires is None else self._clock.time() + self._expires

    @contextmanager
    def _begin(self) -> Iterator[sqlalchemy.Connection]:
        with _translated():
            if not self._made:
                self._make_tables()
            with self._engine.begin() as connection:
                yield connection

    def _make_tables(self) -> None:
        with self._lock:
            try:
                self._tables.results.metadata.create_all(self._engine)
            except DBAPIError:
                # Another process made them between the look and the making; if not, this raises the real error.
                self._tables.results.metadata.create_all(self._engine)
            self._made = True

    def _write_row(self, connection: sqlalchemy.Connection, row: dict[str, object]) -> None:
        """For databases whose conditional insert is not known here: update, or insert, or update what came between."""
        table = self._tables.results
        update = (
            table.update()
            .where(table.c.task_id == row["task_id"], table.c.precedence <= row["precedence"])
            .values({key: value for key, value in row.items() if key != "task_id"})
        )
        if connection.execute(update).rowcount:
            return
        try:
            with connection.begin_nested():
                connection.execute(table.insert().values(row))
        except IntegrityError:
            connection.execute(update)

    def _clean(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if now < self._clean_at:
                return
            self._clean_at = now + _CLEANING
        try:
            with self._begin() as connection:
                for table in (self._tables.results, self._tables.groups):
                    connection.execute(table.delete().where(table.c.expires_at <= self._clock.time()))
        except BackendFailed as error:
            # The reports are written; the next round deletes what this one did not.
            logger.warning("expired results were not deleted: %s", error, extra=event("cleanup-failed"))


def _row(record: Record, expires_at: float) -> dict[str, object]:
    report = record.result
    return {
        "task_id": report.task_id,
        "status": report.status[:50],
        "name": None if report.name is None else report.name[:255],
        "date_done": None if report.date_done is None else report.date_done.isoformat(),
        "value": record.value,
        "expires_at": expires_at,
        "precedence": record.precedence,
    }


def _upsert(dialect: str, table: sqlalchemy.Table) -> sqlalchemy.Executable | None:
    """The statement that inserts a row, or replaces one of no greater precedence; None where the dialect has none."""
    others = [column.name for column in table.columns if column.name != "task_id"]
    if dialect in ("postgresql", "sqlite"):
        insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
        return insert.on_conflict_do_update(
            index_elements=["task_id"],
            set_={name: insert.excluded[name] for name in others},
            where=table.c.precedence <= insert.excluded.precedence,
        )
    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        new = statement.inserted
        wins = table.c.precedence <= new.precedence
        return statement.on_duplicate_key_update(
            [(name, sqlalchemy.func.if_(wins, new[name], table.c[name])) for name in others]
        )
    return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise BackendFailed(f"the database: {error}") from error


def _set_up_sqlite(connection: "_SqliteConnection", _: object) -> None:
    # Readers and a writer then do not wait for each other.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=10000")


class _SqliteConnection:
    execute: Callable[[str], object]


def create(setup: BackendSetup) -> StoredResults:
    """The backend `sql`; `url` is SQLAlchemy's, `options` go to `create_engine`, `prefix` begins the tables' names."""
    if setup.url is None:
        raise ConfigError([Problem(message="the sql result backend needs results.url", hint="sqlite:///results.db")])
    engine = sqlalchemy.create_engine(setup.url, pool_pre_ping=True, **setup.options)
    if engine.dialect.name == "sqlite":
        sqlalchemy.event.listen(engine, "connect", _set_up_sqlite)
    store = SqlStore(engine, tables=make_tables(setup.prefix or "amqtask_"), expires=setup.expires, clock=setup.clock)

    def lookout(_: Store, watchers: Watchers) -> Lookout:
        poller = Poller(store, watchers, setup)
        if store.channel is not None and engine.dialect.driver == "psycopg":
            return Notified(poller, watchers, store.listen, setup)
        return poller

    return StoredResults(store, setup, lookout)
