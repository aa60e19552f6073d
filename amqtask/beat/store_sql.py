"""Beat's book in an SQL database, through SQLAlchemy: `amqtask_beat` with a row an app, and a row a state and an edit.

A writer first updates its app's row under the condition that it still leads; the row's lock keeps others waiting.
"""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping

import sqlalchemy
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from amqtask.beat.book import VERSION, Book, Kept, Overlay, patched
from amqtask.beat.store import StoreSetup, url_of
from amqtask.errors import BeatStoreFailed, Fenced, InvalidSchedule

_METADATA = sqlalchemy.MetaData()
_LEADERS = sqlalchemy.Table(
    "amqtask_beat",
    _METADATA,
    sqlalchemy.Column("app", sqlalchemy.String(155), primary_key=True),
    sqlalchemy.Column("version", sqlalchemy.Integer, nullable=False),
    sqlalchemy.Column("epoch", sqlalchemy.BigInteger, nullable=False),
    sqlalchemy.Column("holder", sqlalchemy.String(40), nullable=False),
    # Changes with every write: some databases do not count a row that is updated to what it was.
    sqlalchemy.Column("writes", sqlalchemy.BigInteger, nullable=False),
)


def _rows(name: str) -> sqlalchemy.Table:
    return sqlalchemy.Table(
        name,
        _METADATA,
        sqlalchemy.Column("app", sqlalchemy.String(155), primary_key=True),
        sqlalchemy.Column("name", sqlalchemy.String(255), primary_key=True),
        sqlalchemy.Column("form", sqlalchemy.Text, nullable=False),
    )


_STATES = _rows("amqtask_beat_states")
_EDITS = _rows("amqtask_beat_edits")


def create(setup: StoreSetup) -> "SqlStore":
    """The store of these settings."""
    url = url_of(setup, "sql", "postgresql+psycopg://user@host/database")
    try:
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True, **setup.options)
    except SQLAlchemyError as error:
        raise BeatStoreFailed(f"beat.store.url: {error}") from error
    return SqlStore(engine, setup.name)


class SqlStore:
    """The book in three tables, made when they are first needed."""

    def __init__(self, engine: sqlalchemy.Engine, app: str) -> None:
        self._engine = engine
        self._app = app
        self._holder = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._made = False

    def load(self) -> Book:
        with self._begin() as connection:
            return self._book(connection)

    def take_over(self) -> tuple[int, Book]:
        with self._begin() as connection:
            self._touch(connection, epoch=_LEADERS.c.epoch + 1, holder=self._holder)
            epoch = connection.execute(sqlalchemy.select(_LEADERS.c.epoch).where(_LEADERS.c.app == self._app)).scalar()
            assert isinstance(epoch, int), "the row was just touched"
            return epoch, self._book(connection)

    def save(self, epoch: int, states: Mapping[str, Kept | None]) -> None:
        with self._begin() as connection:
            mine = sqlalchemy.and_(_LEADERS.c.epoch == epoch, _LEADERS.c.holder == self._holder)
            if not self._touch(connection, mine):
                raise Fenced
            forms = {name: None if kept is None else json.dumps(kept.to_json()) for name, kept in states.items()}
            self._put(connection, _STATES, forms)

    def edit(self, name: str, patch: Overlay | None) -> None:
        with self._begin() as connection:
            self._touch(connection)
            query = sqlalchemy.select(_EDITS.c.form).where(_EDITS.c.app == self._app, _EDITS.c.name == name)
            old = connection.execute(query).scalar()
            overlay = patched(None if old is None else json.loads(old), patch)
            self._put(connection, _EDITS, {name: None if overlay is None else json.dumps(overlay)})

    def idle(self) -> None:
        """The pool looks after its connections."""

    def close(self) -> None:
        self._engine.dispose()

    def _touch(
        self,
        connection: sqlalchemy.Connection,
        condition: "sqlalchemy.ColumnElement[bool] | None" = None,
        **values: object,
    ) -> bool:
        """Update the app's row, which locks it; whether the condition held."""
        update = _LEADERS.update().where(_LEADERS.c.app == self._app, _LEADERS.c.version == VERSION)
        if condition is not None:
            update = update.where(condition)
        return connection.execute(update.values(writes=_LEADERS.c.writes + 1, **values)).rowcount == 1

    def _put(self, connection: sqlalchemy.Connection, table: sqlalchemy.Table, forms: Mapping[str, str | None]) -> None:
        if not forms:
            return
        connection.execute(
            table.delete().where(table.c.app == self._app, table.c.name == sqlalchemy.bindparam("entry")),
            [{"entry": name} for name in forms],
        )
        rows = [{"app": self._app, "name": name, "form": form} for name, form in forms.items() if form is not None]
        if rows:
            connection.execute(table.insert(), rows)

    def _book(self, connection: sqlalchemy.Connection) -> Book:
        def rows(table: sqlalchemy.Table) -> dict[str, object]:
            query = sqlalchemy.select(table.c.name, table.c.form).where(table.c.app == self._app)
            return {name: json.loads(form) for name, form in connection.execute(query)}

        try:
            states = {name: Kept.from_json(form) for name, form in rows(_STATES).items()}
        except InvalidSchedule as error:
            raise BeatStoreFailed(str(error)) from error
        edits = {name: form for name, form in rows(_EDITS).items() if isinstance(form, dict)}
        return Book(states=states, edits=edits)

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sqlalchemy.Connection]:
        try:
            if not self._made:
                self._make()
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise BeatStoreFailed(f"beat's state in the database: {error}") from error

    def _make(self) -> None:
        with self._lock:
            try:
                _METADATA.create_all(self._engine)
            except DBAPIError:
                # Another process made them between the look and the making; if not, this raises the real error.
                _METADATA.create_all(self._engine)
            query = sqlalchemy.select(_LEADERS.c.version).where(_LEADERS.c.app == self._app)
            row = {"app": self._app, "version": VERSION, "epoch": 0, "holder": "", "writes": 0}
            with self._engine.begin() as connection:
                version = connection.execute(query).scalar()
                if version is None:
                    with contextlib.suppress(IntegrityError), connection.begin_nested():
                        connection.execute(_LEADERS.insert().values(row))
            if version not in (None, VERSION):
                raise BeatStoreFailed(
                    f"beat's state in the database is of version {version}; this beat knows {VERSION}"
                )
            self._made = True
