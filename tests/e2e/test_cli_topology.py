"""`amqtask topology` as it is called: offline, and against a RabbitMQ."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from urllib.parse import urlsplit

import pytest

from amqtask.core.address import parse_url
from amqtask.core.declare import DeclareOp, DeclareQueue, DeleteExchange, DeleteQueue, QueueInfo
from amqtask.core.message import Delivery, Envelope
from amqtask.drivers import load_driver
from amqtask.errors import BrokerError
from tests.support.cli import Shell
from tests.support.names import unique
from tests.support.rabbitmq import RabbitNode

pytestmark = pytest.mark.matrix


class Deaf:
    """Listens to a channel on which nothing happens."""

    def delivered(self, delivery: Delivery) -> None: ...

    def confirmed(self, sequence: int, multiple: bool, ok: bool) -> None: ...

    def returned(self, envelope: Envelope, code: int, text: str, exchange: str, routing_key: str) -> None: ...

    def cancelled(self, consumer_tag: str) -> None: ...

    def closed(self, error: BrokerError) -> None: ...


class Place:
    """A broker, a file whose names nobody else uses, and a shell."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.shell = Shell(folder)
        self.tail = unique("x")

    def name(self, word: str) -> str:
        """`$word` in the file."""
        return f"{word}.{self.tail}"

    def write(self, text: str) -> None:
        """Write the configuration; `$hi` stands for a name of one's own."""
        named = re.sub(r"\$(\w+)", lambda match: self.name(match[1]), dedent(text))
        self.shell.write(f"broker: {{url: '{self.url}'}}\n{named}")

    def ask(self, op: DeclareOp) -> QueueInfo | None:
        """Do something on the broker directly."""
        connection = load_driver("pika").connect(parse_url(self.url), 10.0)
        try:
            return connection.channel(Deaf(), confirms=False).declare(op)
        finally:
            connection.close()

    def steps(self, output: str) -> list[str]:
        """The lines of `apply`, in short: `created queue hi`."""
        lines = output.replace(f".{self.tail}", "").splitlines()
        return [" ".join(line.split()) for line in lines]


FILE = """
    exchanges: {$tasks: {alternate: $rest}, $rest: {type: fanout}}
    queues:
      $hi: {bind: ["$tasks[hi.#]"], max_length: 10}
      $lo: {bind: ["$tasks[lo.#]"], type: classic, max_priority: 5, dead_letter: false}
      $all: {bind: [$rest], dead_letter: false}
    """


@pytest.fixture
def place(vhost: str, tmp_path: Path) -> Iterator[Place]:
    place = Place(vhost, tmp_path)
    yield place
    for word in ("hi", "lo", "all", "hi.dlq"):
        place.ask(DeleteQueue(name=place.name(word) if "." not in word else place.name("hi") + ".dlq"))
    for word in ("tasks", "rest"):
        place.ask(DeleteExchange(name=place.name(word)))


def test_apply_creates_what_is_missing_and_leaves_what_stands(place: Place) -> None:
    place.write(FILE)

    first, second = place.shell.run("topology", "apply"), place.shell.run("topology", "apply")

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert place.steps(first.stdout) == [
        "created exchange tasks",
        "created exchange rest",
        "created queue hi.dlq",
        "created queue hi",
        "created queue lo",
        "created queue all",
        "bound binding tasks[hi.#] -> hi",
        "bound binding tasks[lo.#] -> lo",
        "bound binding rest[] -> all",
        "6 created, 3 bound",
    ]
    assert place.steps(second.stdout)[-1] == "6 stood already, 3 bound"
    found = place.ask(DeclareQueue(name=place.name("hi"), passive=True))
    assert found is not None
    assert found.messages == 0


def test_apply_says_what_is_new_beside_what_stood(place: Place) -> None:
    place.write(FILE.replace("$lo", "# $lo"))
    place.shell.run("topology", "apply")
    place.write(FILE)

    done = place.shell.run("topology", "apply")

    assert "created queue lo" in place.steps(done.stdout)
    assert "stood already queue hi" in place.steps(done.stdout)


def test_a_dry_run_changes_nothing(place: Place) -> None:
    place.write(FILE)

    first = place.shell.run("topology", "apply", "--dry-run")
    second = place.shell.run("topology", "apply", "--dry-run")

    assert first.returncode == 0
    assert place.steps(first.stdout)[-1] == place.steps(second.stdout)[-1] == "6 would be created"


def test_what_differs_is_explained_and_the_rest_is_declared(place: Place) -> None:
    place.write(FILE.replace("$all", "# $all"))
    place.shell.run("topology", "apply")
    place.write(FILE.replace("max_priority: 5", "max_priority: 6").replace("max_length: 10", "max_length: 20"))

    done = place.shell.run("topology", "apply")

    assert done.returncode == 1
    told = done.stderr.replace(f".{place.tail}", "")
    assert 'error: queue "lo": x-max-priority is 5 on the broker, and 6 is wanted' in told
    assert 'error: queue "hi": x-max-length is 10 on the broker, and 20 is wanted' in told
    assert "RabbitMQ changes no existing object" in told
    assert "created queue all" in place.steps(done.stdout)


def test_an_exchange_of_another_type_and_an_argument_that_is_gone_are_explained(place: Place) -> None:
    place.write(FILE)
    place.shell.run("topology", "apply")
    place.write(FILE.replace("{alternate: $rest}", "{type: direct, alternate: $rest}").replace(", max_length: 10", ""))

    told = place.shell.run("topology", "apply").stderr.replace(f".{place.tail}", "")

    assert 'exchange "tasks": type is topic on the broker, and direct is wanted' in told
    assert 'queue "hi": x-max-length is 10 on the broker, and none is wanted' in told


def test_a_queue_of_others_is_looked_for_and_not_declared(place: Place) -> None:
    place.write("queues: {$hi: {declare: verify}}")

    missing = place.shell.run("topology", "apply")
    place.ask(DeclareQueue(name=place.name("hi")))
    there = place.shell.run("topology", "apply")

    assert missing.returncode == 1
    assert "it is declared elsewhere (declare: verify), and it is not there" in missing.stderr
    assert there.returncode == 0
    assert place.steps(there.stdout)[0] == "stood already queue hi"


def test_an_exclusive_queue_is_left_to_its_user(place: Place) -> None:
    place.write("queues: {$hi: {exclusive: true}}")

    done = place.shell.run("topology", "apply")

    assert place.steps(done.stdout) == ["left out queue hi", "1 left out"]


def test_no_limit_and_the_default_work_on_this_server(place: Place) -> None:
    place.write("queues: {$hi: {delivery_limit: -1}}")

    first, second = place.shell.run("topology", "apply"), place.shell.run("topology", "apply")

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr


def test_what_the_server_does_not_know_is_a_mistake_before_anything_is_declared(place: Place) -> None:
    connection = load_driver("pika").connect(parse_url(place.url), 10.0)
    server = connection.server
    connection.close()
    if not server.startswith("RabbitMQ 3."):
        pytest.skip(f"{server} knows delayed retries")
    place.write("queues: {$hi: {delayed_retry: {}}}")

    done = place.shell.run("topology", "apply")

    assert (done.returncode, done.stdout) == (78, "")
    assert "delayed_retry.type of a quorum queue needs RabbitMQ 4.3" in done.stderr


@pytest.mark.parametrize("driver", ["pika", "amqp"])
def test_either_driver_applies(place: Place, driver: str) -> None:
    place.write(FILE)

    done = place.shell.run("topology", "apply", "--set", f"broker.driver={driver}")

    assert place.steps(done.stdout)[-1] == "6 created, 3 bound"


# No broker, no access


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody will while the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_an_unreachable_broker_is_named_with_how_to_start_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    with closed_port() as port:
        shell.write(f"broker: {{url: 'amqp://shop:hunter2@127.0.0.1:{port}/'}}\n")
        done = shell.run("topology", "apply")

    assert (done.returncode, done.stdout) == (69, "")
    assert f"error: cannot reach amqp://shop:***@127.0.0.1:{port}/" in done.stderr
    assert "start a broker with" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_next_url_is_tried_where_the_first_does_not_answer(place: Place) -> None:
    with closed_port() as port:
        place.shell.write(f"broker: {{urls: ['amqp://127.0.0.1:{port}/', '{place.url}']}}\n")
        done = place.shell.run("topology", "apply")

    assert done.returncode == 0, done.stderr
    assert "warning: cannot reach" in done.stderr


def test_a_wrong_password_is_told_as_such(place: Place) -> None:
    parts = urlsplit(place.url)
    place.shell.write(
        f"broker: {{url: '{parts._replace(netloc=f'guest:wrong@{parts.hostname}:{parts.port}').geturl()}'}}"
    )

    done = place.shell.run("topology", "apply")

    assert done.returncode == 77
    assert "refused user 'guest' or its password: 403" in done.stderr
    assert "wrong@" not in done.stderr


def test_a_missing_virtual_host_is_told_as_such(place: Place) -> None:
    parts = urlsplit(place.url)
    place.shell.write(f"broker: {{url: '{parts._replace(path='/' + unique('nowhere')).geturl()}'}}")

    done = place.shell.run("topology", "apply")

    assert done.returncode == 69
    assert "no access to virtual host 't.nowhere." in done.stderr


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (("^$", ".*", ".*"), ["exchange.declare", "configure"]),
        ((".*", "^$", ".*"), ["write"]),
        ((".*", ".*", "^$"), ["read"]),
    ],
)
def test_a_missing_permission_is_told_as_such(
    node: RabbitNode, tmp_path: Path, permissions: tuple[str, str, str], words: list[str]
) -> None:
    vhost, user = unique("v"), unique("u")
    url = node.add_vhost(vhost)
    node.ctl("add_user", user, "secret")
    node.ctl("set_permissions", "-p", vhost, user, *permissions)
    place = Place(url.replace("guest:guest@", f"{user}:secret@"), tmp_path)
    place.write(FILE)

    done = place.shell.run("topology", "apply")

    assert done.returncode == 77, done.stderr
    assert "403 ACCESS_REFUSED" in done.stderr
    for word in words:
        assert word in done.stderr


# Offline


def test_validate_asks_no_broker(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write("broker: {url: 'amqp://nowhere.invalid/'}\nqueues: {hi: {bind: [amq.topic]}}\n")

    done = shell.run("topology", "validate")

    assert (done.returncode, done.stdout) == (0, "ok: 0 exchanges, 2 queues, 1 binding, 0 routes\n")


def test_validate_finds_what_a_version_does_not_take(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write("queues:\n  hi:\n    consumer_timeout: 1h\n")

    old, new = (
        shell.run("topology", "validate", "--server", "3.11"),
        shell.run("topology", "validate", "--server", "4.0"),
    )
    wrong = shell.run("topology", "validate", "--server", "new")

    assert old.returncode == 78
    assert old.stderr.splitlines()[0].startswith("error: amqtask.yaml:3:23: ")
    assert "needs RabbitMQ 3.12, and this is 3.11" in old.stderr
    assert new.returncode == 0
    assert wrong.returncode == 2


def test_show_draws_the_tree_or_prints_json(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write('exchanges: {tasks: {}}\nqueues: {hi: {bind: ["tasks[hi.#]"]}}\n')

    tree, plain = shell.run("topology", "show"), shell.run("topology", "show", "--json")

    assert tree.stdout.splitlines() == [
        "exchanges (1)",
        "└─ tasks (topic)",
        "   └─ hi.# -> hi",
        "queues (2)",
        "├─ hi (quorum, dead letters -> hi.dlq)",
        "└─ hi.dlq (quorum)",
    ]
    assert json.loads(plain.stdout)["bindings"][0]["routing_key"] == "hi.#"
