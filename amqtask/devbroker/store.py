"""Store: the journal of a broker in an SQLite file, written ahead.

A publisher hears of its message after the commit that holds it. Everything that happens between two flushes of the
broker is one transaction. What is durable is kept: durable exchanges, queues and the bindings between them, persistent
messages in durable classic queues, all messages in quorum queues and streams.
"""

import pathlib
import sqlite3

from amqtask.devbroker import properties, tables
from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.exchange import Binding, ExchangeSpec
from amqtask.devbroker.message import Entry, Message
from amqtask.devbroker.tables import text, wire

FILE = "broker.sqlite3"
VERSION = 2
LOCK_TIMEOUT = 1.0
"""Seconds to wait for another process to let go of the file."""

# Names are BLOBs: AMQP's are bytes, and need not be UTF-8.
_SCHEMA = """
CREATE TABLE vhosts (name BLOB PRIMARY KEY);
CREATE TABLE exchanges (vhost BLOB, name BLOB, kind TEXT, auto_delete INTEGER, internal INTEGER, arguments BLOB,
    PRIMARY KEY (vhost, name));
CREATE TABLE queues (vhost BLOB, name BLOB, auto_delete INTEGER, arguments BLOB, PRIMARY KEY (vhost, name));
CREATE TABLE bindings (vhost BLOB, source BLOB, kind TEXT, destination BLOB, routing_key BLOB, arguments BLOB,
    PRIMARY KEY (vhost, source, kind, destination, routing_key, arguments));
CREATE TABLE messages (id INTEGER PRIMARY KEY, vhost BLOB, queue BLOB, sequence INTEGER, exchange BLOB,
    routing_key BLOB, extra_keys BLOB, properties BLOB, body BLOB, expires_at REAL, deliveries INTEGER,
    acquired INTEGER, has_died INTEGER);
CREATE TABLE delivered (vhost BLOB, queue BLOB, sequence INTEGER, PRIMARY KEY (vhost, queue));
CREATE INDEX messages_by_queue ON messages (vhost, queue, sequence);
"""
_INSERT = f"INSERT INTO messages VALUES ({', '.join('?' * 13)})"
_UPDATE = "UPDATE messages SET deliveries = ?, acquired = ? WHERE id = ?"
_DELETE = "DELETE FROM messages WHERE id = ?"
_DELIVER = (
    "INSERT INTO delivered VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)"
)
_BINDING = "vhost = ? AND source = ? AND kind = ? AND destination = ? AND routing_key = ? AND arguments = ?"

Row = tuple[str | bytes | int | float | None, ...]


class Store:
    """A journal on disk. Not thread-safe; belongs to the thread that first writes.

    Raises sqlite3.Error when the disk does not take what it is given: then nothing is confirmed.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._batches: list[tuple[str, list[Row]]] = []
        self._added: dict[int, Row] = {}
        self._removed: list[Row] = []
        # The highest sequence that each queue has handed out since the last commit.
        self._delivered: dict[tuple[str, str], int] = {}
        found = connection.execute("SELECT max(id) FROM messages").fetchone()[0]
        self._last_row: int = found or 0

    @classmethod
    def open(cls, folder: pathlib.Path) -> "Store":
        """The store in `folder`, made if need be.

        Raises ValueError for one of another version, OSError if another broker uses it or the disk does not take it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False, timeout=LOCK_TIMEOUT)
        try:
            _prepare(connection, folder / FILE)
        except sqlite3.Error as error:
            connection.close()
            raise OSError(f"cannot use {folder / FILE}: {error}") from error
        except ValueError:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    # The journal.

    @property
    def is_dirty(self) -> bool:
        return bool(self._batches or self._added or self._removed or self._delivered)

    def vhost_added(self, vhost: str) -> None:
        self._note("INSERT OR IGNORE INTO vhosts VALUES (?)", wire(vhost))

    def exchange_declared(self, vhost: str, spec: ExchangeSpec) -> None:
        row = (wire(vhost), wire(spec.name), spec.kind, spec.auto_delete, spec.internal, tables.encode(spec.arguments))
        self._note("INSERT OR REPLACE INTO exchanges VALUES (?, ?, ?, ?, ?, ?)", *row)

    def exchange_deleted(self, vhost: str, name: str) -> None:
        self._note("DELETE FROM exchanges WHERE vhost = ? AND name = ?", wire(vhost), wire(name))
        self._note("DELETE FROM bindings WHERE vhost = ? AND source = ?", wire(vhost), wire(name))

    def queue_declared(self, vhost: str, spec: QueueSpec) -> None:
        row = (wire(vhost), wire(spec.name), spec.auto_delete, tables.encode(spec.arguments))
        self._note("INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?)", *row)

    def queue_deleted(self, vhost: str, name: str) -> None:
        self._delivered.pop((vhost, name), None)
        self._note("DELETE FROM delivered WHERE vhost = ? AND queue = ?", wire(vhost), wire(name))
        self._note("DELETE FROM queues WHERE vhost = ? AND name = ?", wire(vhost), wire(name))
        self._note("DELETE FROM messages WHERE vhost = ? AND queue = ?", wire(vhost), wire(name))

    def bound(self, vhost: str, binding: Binding) -> None:
        self._note("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?, ?, ?, ?)", *_binding_row(vhost, binding))

    def unbound(self, vhost: str, binding: Binding) -> None:
        self._note(f"DELETE FROM bindings WHERE {_BINDING}", *_binding_row(vhost, binding))

    def added(self, vhost: str, queue: str, entry: Entry) -> None:
        self._last_row += 1
        entry.row = self._last_row
        self._added[entry.row] = _message_row(vhost, queue, entry)

    def delivered(self, vhost: str, queue: str, entry: Entry) -> None:
        if entry.sequence > self._delivered.get((vhost, queue), -1):
            self._delivered[vhost, queue] = entry.sequence

    def changed(self, entry: Entry) -> None:
        self._note(_UPDATE, entry.deliveries, entry.acquired, entry.row)

    def removed(self, entry: Entry) -> None:
        # One that came and went between two commits never reaches the disk.
        if entry.row is not None and self._added.pop(entry.row, None) is None:
            self._removed.append((entry.row,))

    def commit(self) -> None:
        """Raises sqlite3.Error; what was to be written then stays to be written."""
        self._write_messages()
        if self._delivered:
            rows: list[Row] = [(wire(vhost), wire(name), last) for (vhost, name), last in self._delivered.items()]
            self._batches.append((_DELIVER, rows))
            self._delivered = {}
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in self._batches:
                self._connection.executemany(statement, rows)
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        self._batches = []

    def _note(self, statement: str, *row: str | bytes | int | float | None) -> None:
        self._write_messages()
        self._batches.append((statement, [row]))

    def _write_messages(self) -> None:
        """Put what has gathered into its place before what comes next."""
        if self._added:
            self._batches.append((_INSERT, list(self._added.values())))
            self._added = {}
        if self._removed:
            self._batches.append((_DELETE, self._removed))
            self._removed = []

    # An earlier life.

    def restore(self, broker: Broker) -> None:
        """Declare in `broker` what the file has, and put the messages back where they were.

        Those up to the last one that its queue had handed out are marked as redelivered: nobody knows which of them a
        client had in its hands.
        """
        for (name,) in self._connection.execute("SELECT name FROM vhosts").fetchall():
            broker.add_vhost(text(name))
        for vhost, name, kind, auto_delete, internal, arguments in self._connection.execute(
            "SELECT * FROM exchanges"
        ).fetchall():
            spec = ExchangeSpec(
                name=text(name),
                kind=kind,
                durable=True,
                auto_delete=bool(auto_delete),
                internal=bool(internal),
                arguments=tables.decode(arguments),
            )
            broker.vhost(text(vhost)).add_exchange(spec)
        for vhost, name, auto_delete, arguments in self._connection.execute("SELECT * FROM queues").fetchall():
            queue = QueueSpec(
                name=text(name), durable=True, auto_delete=bool(auto_delete), arguments=tables.decode(arguments)
            )
            broker.vhost(text(vhost)).add_queue(queue)
        for vhost, source, kind, destination, key, arguments in self._connection.execute(
            "SELECT * FROM bindings"
        ).fetchall():
            binding = Binding(
                source=text(source),
                destination=(kind, text(destination)),
                routing_key=text(key),
                arguments=tables.decode(arguments),
            )
            broker.vhost(text(vhost)).bind(binding)
        self._restore_messages(broker)

    def _restore_messages(self, broker: Broker) -> None:
        handed_out = {
            (vhost, queue): sequence
            for vhost, queue, sequence in self._connection.execute("SELECT * FROM delivered").fetchall()
        }
        for (vhost, queue), sequence in handed_out.items():
            broker.vhost(text(vhost)).queues[text(queue)].recall_delivered(sequence)
        rows = self._connection.execute("SELECT * FROM messages ORDER BY vhost, queue, sequence")
        for (
            row,
            vhost,
            queue,
            sequence,
            exchange,
            key,
            extra_keys,
            raw,
            body,
            expires_at,
            deliveries,
            acquired,
            has_died,
        ) in rows:
            extra = tuple(str(item) for item in tables.decode_list(extra_keys))
            known = properties.scan(raw)
            message = Message(text(exchange), text(key), known, body, extra_keys=extra, has_died=bool(has_died))
            entry = Entry(message, sequence, expires_at)
            entry.row, entry.deliveries, entry.acquired = row, deliveries, acquired
            entry.redelivered = sequence <= handed_out.get((vhost, queue), -1)
            broker.vhost(text(vhost)).queues[text(queue)].recall(entry)
        for host in broker.vhosts.values():
            for found in list(host.queues.values()):
                found.resume()


def _prepare(connection: sqlite3.Connection, path: pathlib.Path) -> None:
    # A second broker on the same file would give messages out twice.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise ValueError(f"{path} is of version {version}; this broker writes version {VERSION}")


def _binding_row(vhost: str, binding: Binding) -> Row:
    destination, key, arguments = binding.identity
    return (wire(vhost), wire(binding.source), destination[0], wire(destination[1]), wire(key), arguments)


def _message_row(vhost: str, queue: str, entry: Entry) -> Row:
    message = entry.message
    return (
        entry.row,
        wire(vhost),
        wire(queue),
        entry.sequence,
        wire(message.exchange),
        wire(message.routing_key),
        tables.encode_list(message.extra_keys),
        message.properties,
        message.body,
        entry.expires_at,
        entry.deliveries,
        entry.acquired,
        message.has_died,
    )
