"""Stores for the contract of result backends: real servers where the machine has them, containers where Docker runs."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """A port of localhost that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """The URL of a private server, on `port` if one is given; else of AMQTASK_REDIS_URL or of the one on localhost."""
    given = os.environ.get("AMQTASK_REDIS_URL")
    binary = shutil.which("redis-server")
    if given and port is None:
        yield given
    elif binary:
        port = port or free_port()
        with _running([binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], port):
            yield f"redis://127.0.0.1:{port}/0"
    elif port is None and answers("127.0.0.1", 6379):
        yield "redis://127.0.0.1:6379/0"
    else:
        pytest.skip("no Redis: install redis-server or set AMQTASK_REDIS_URL")


@contextmanager
def memcached_server(port: int | None = None) -> Iterator[str]:
    """The URL of a private memcached, on `port` if one is given."""
    binary = shutil.which("memcached")
    if binary is None:
        pytest.skip("no memcached: install the package memcached")
    port = port or free_port()
    with _running([binary, "-p", str(port), "-l", "127.0.0.1", "-u", "nobody", "-U", "0", "-I", "4m"], port):
        yield f"memcached://127.0.0.1:{port}"


def postgresql_url() -> str:
    """The URL of AMQTASK_POSTGRESQL_URL or of the server on localhost."""
    pytest.importorskip("psycopg")
    return _sql_url("AMQTASK_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


def mariadb_url() -> str:
    """The URL of AMQTASK_MARIADB_URL or of the server on localhost."""
    pytest.importorskip("pymysql")
    return _sql_url("AMQTASK_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")


def _sql_url(variable: str, default: str) -> str:
    import sqlalchemy

    url = os.environ.get(variable, default)
    if default.startswith("mysql") and variable not in os.environ:
        _make_test_database(default)
    engine = sqlalchemy.create_engine(url)
    try:
        engine.connect().close()
    except sqlalchemy.exc.SQLAlchemyError as error:
        pytest.skip(f"no database: set {variable} ({type(error).__name__})")
    finally:
        engine.dispose()
    return url


def _make_test_database(url: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.rpartition("/")[0] + "/")
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE DATABASE IF NOT EXISTS test"))
    except sqlalchemy.exc.SQLAlchemyError as error:
        pytest.skip(f"no MariaDB that lets root in: set AMQTASK_MARIADB_URL ({type(error).__name__})")
    finally:
        engine.dispose()


def django_database(path: Path) -> None:
    """Set Django up in this process, on SQLite, with the tables of results. It can be set up once only."""
    django = pytest.importorskip("django")
    from django.conf import settings
    from django.core.management import call_command

    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["amqtask.contrib.django_results"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}},
            USE_TZ=True,
        )
        django.setup()
    call_command("migrate", verbosity=0)


@contextmanager
def mongodb_server() -> Iterator[str]:
    """The URL of AMQTASK_MONGODB_URL or of a container."""
    given = os.environ.get("AMQTASK_MONGODB_URL")
    if given:
        yield given
        return
    need_docker("AMQTASK_MONGODB_URL")
    from testcontainers.mongodb import MongoDbContainer

    with MongoDbContainer("mongo:7") as container:
        yield container.get_connection_url()


@contextmanager
def elasticsearch_server() -> Iterator[str]:
    """The URL of AMQTASK_ELASTICSEARCH_URL or of a container."""
    given = os.environ.get("AMQTASK_ELASTICSEARCH_URL")
    if given:
        yield given
        return
    need_docker("AMQTASK_ELASTICSEARCH_URL")
    from testcontainers.elasticsearch import ElasticSearchContainer

    with ElasticSearchContainer("elasticsearch:9.1.0", mem_limit="2g") as container:
        yield container.get_url()


@contextmanager
def cassandra_server() -> Iterator[str]:
    """The URL of AMQTASK_CASSANDRA_URL or of a container."""
    given = os.environ.get("AMQTASK_CASSANDRA_URL")
    if given:
        yield given
        return
    need_docker("AMQTASK_CASSANDRA_URL")
    from testcontainers.cassandra import CassandraContainer

    with CassandraContainer("cassandra:5") as container:
        host, port = container.get_contact_points()[0]
        yield f"cassandra://{host}:{port}/t{uuid.uuid4().hex[:8]}"


def need_docker(variable: str) -> None:
    """Skip the test unless Docker's engine answers."""
    # docker.from_env leaks its socket when nobody answers, and warnings are errors here.
    if "DOCKER_HOST" not in os.environ:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            if probe.connect_ex("/var/run/docker.sock") != 0:
                pytest.skip(f"no server: start Docker or set {variable}")


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not answers("127.0.0.1", port):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{command[0]} did not start")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)
