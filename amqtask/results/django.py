"""Results in the database of a Django project, through its ORM; `amqtask.contrib.django_results` has the tables."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, connections, transaction

from amqtask.clock import Clock
from amqtask.contrib.django_results.models import StoredGroup, StoredResult
from amqtask.errors import BackendFailed, ConfigError, Problem
from amqtask.log import event, get_logger
from amqtask.results.codec import Record
from amqtask.results.poller import Poller
from amqtask.results.setup import BackendSetup
from amqtask.results.stored import Store, StoredResults
from amqtask.results.watchers import Watchers

logger = get_logger("results")

_APP = "amqtask.contrib.django_results"

_CLEANING = 300.0
_NEVER = 1e18


class DjangoStore:
    """Two models. Each thread has a connection of Django's, which is given back as at the end of a request."""

    def __init__(self, database: str, *, expires: float | None, clock: Clock) -> None:
        self._database = database
        self._expires = expires
        self._clock = clock
        self._lock = threading.Lock()
        self._clean_at = 0.0

    def write(self, records: Sequence[Record]) -> None:
        with self._connected(), transaction.atomic(using=self._database):
            # In the same order everywhere, so that two writers of the same rows do not lock each other out.
            for record in sorted(records, key=lambda record: record.result.task_id):
                self._write(record)
        self._clean()

    def _write(self, record: Record) -> None:
        report = record.result
        done = report.date_done
        if done is not None and not settings.USE_TZ:
            done = done.astimezone(UTC).replace(tzinfo=None)
        fields: dict[str, object] = {
            "precedence": record.precedence,
            "status": report.status[:50],
            "name": (report.name or "")[:255],
            "date_done": done,
            "value": record.value,
            "expires_at": self._expires_at(),
        }
        lesser = StoredResult.objects.using(self._database).filter(
            task_id=report.task_id, precedence__lte=record.precedence
        )
        if lesser.update(**fields):
            return
        try:
            with transaction.atomic(using=self._database):
                StoredResult.objects.using(self._database).create(task_id=report.task_id, **fields)
        except IntegrityError:
            # A row is there: a greater one, which stays, or one that came in between.
            lesser.update(**fields)

    def read(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        rows = StoredResult.objects.using(self._database).filter(
            task_id__in=task_ids, expires_at__gt=self._clock.time()
        )
        with self._connected():
            return {task_id: bytes(value) for task_id, value in rows.values_list("task_id", "value")}

    def delete(self, task_id: str) -> None:
        with self._connected():
            StoredResult.objects.using(self._database).filter(task_id=task_id).delete()

    def write_group(self, group_id: str, value: bytes) -> None:
        with self._connected():
            StoredGroup.objects.using(self._database).update_or_create(
                group_id=group_id, defaults={"value": value, "expires_at": self._expires_at()}
            )

    def read_group(self, group_id: str) -> bytes | None:
        rows = StoredGroup.objects.using(self._database).filter(group_id=group_id, expires_at__gt=self._clock.time())
        with self._connected():
            value = rows.values_list("value", flat=True).first()
        return None if value is None else bytes(value)

    def delete_group(self, group_id: str) -> None:
        with self._connected():
            StoredGroup.objects.using(self._database).filter(group_id=group_id).delete()

    def close(self) -> None:
        pass

    def _expires_at(self) -> float:
        return _NEVER if self._expires is None else self._clock.time() + self._expires

    def _clean(self) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if now < self._clean_at:
                return
            self._clean_at = now + _CLEANING
        try:
            with self._connected():
                for model in (StoredResult, StoredGroup):
                    model.objects.using(self._database).filter(expires_at__lte=self._clock.time()).delete()
        except BackendFailed as error:
            # The reports are written; the next round deletes what this one did not.
            logger.warning("expired results were not deleted: %s", error, extra=event("cleanup-failed"))

    @contextmanager
    def _connected(self) -> Iterator[None]:
        connection = connections[self._database]
        connection.close_if_unusable_or_obsolete()
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            raise BackendFailed(f"the database: {error}") from error
        finally:
            connection.close_if_unusable_or_obsolete()


def create(setup: BackendSetup) -> StoredResults:
    """The backend `django`; the option `database` is the alias in DATABASES, `default` if it is not given.

    Raises:
        ConfigError: the app that has the tables is not installed in the project.
    """
    if not apps.is_installed(_APP):
        raise ConfigError([Problem(message=f"the django result backend needs {_APP} in INSTALLED_APPS")])
    database = str(setup.options.get("database", "default"))
    store = DjangoStore(database, expires=setup.expires, clock=setup.clock)

    def lookout(_: Store, watchers: Watchers) -> Poller:
        return Poller(store, watchers, setup)

    return StoredResults(store, setup, lookout)
