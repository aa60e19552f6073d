"""What goes wrong at the command line is said in one clear line, with the exit code that fits; no password is shown."""

from collections.abc import Callable

import pytest

from tests.support.program import Scratch
from tests.support.rabbitmq import RabbitNode

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      lo: {}
    tasks: {default_queue: lo}
    publish: {max_message_size: 1KiB, timeout: 3s}
    """

TASKS = """
    @app.task
    def echo(value):
        return value
    """

CALL = ("call", "-A", "tasks:app", "tasks.echo")


def with_login(url: str, login: str) -> str:
    return url.replace("guest:guest@", f"{login}@")


def test_nobody_answers(scratch: MakeScratch) -> None:
    done = scratch(TASKS, CONFIG, url="amqp://guest:hidden@127.0.0.1:1/").run(*CALL, "-a", "[1]")
    assert done.returncode == 69
    assert "error: cannot reach amqp://guest:***@127.0.0.1:1/: Connection refused" in done.stderr
    assert "start a broker with" in done.stderr
    assert "hidden" not in done.stderr


def test_a_wrong_password(scratch: MakeScratch, vhost: str) -> None:
    done = scratch(TASKS, CONFIG, url=with_login(vhost, "guest:wrong")).run(*CALL, "-a", "[1]")
    assert done.returncode == 77
    assert "the broker refused user 'guest' or its password: 403 ACCESS_REFUSED" in done.stderr
    assert "wrong" not in done.stderr


def test_a_virtual_host_that_does_not_exist(scratch: MakeScratch, vhost: str) -> None:
    done = scratch(TASKS, CONFIG, url=vhost.rpartition("/")[0] + "/nowhere").run(*CALL, "-a", "[1]")
    assert done.returncode == 69
    assert "virtual host 'nowhere'" in done.stderr


def test_a_permission_that_is_missing_is_named(scratch: MakeScratch, node: RabbitNode) -> None:
    url = node.fresh_vhost()
    node.ctl("add_user", "reader", "secret")
    try:
        node.ctl("set_permissions", "-p", url.rpartition("/")[2], "reader", "^aqt\\.", "^aqt\\.", ".*")
        done = scratch(TASKS, CONFIG, url=with_login(url, "reader:secret")).run(*CALL, "-a", "[1]")
    finally:
        node.ctl("delete_user", "reader")
    assert done.returncode == 77
    assert "queue.declare of 'lo" in done.stderr
    assert "needed there: configure" in done.stderr
    assert "secret" not in done.stderr


def test_a_message_over_the_limit(scratch: MakeScratch) -> None:
    done = scratch(TASKS, CONFIG).run(*CALL, "-a", '["' + 3000 * "x" + '"]')
    assert done.returncode == 1
    assert "the message of tasks.echo has a body of " in done.stderr
    assert "publish.max_message_size is 1024" in done.stderr


def test_an_argument_that_has_no_form_is_named(scratch: MakeScratch) -> None:
    out = scratch(TASKS, CONFIG).python(
        """
        import tasks
        try:
            tasks.echo.delay({"a": [1, object()]})
        except TypeError as error:
            print(error)
        """
    )
    assert "cannot serialise args[0]['a'][1] as json" in out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((*CALL, "-a", "[]"), 2, "missing a required argument: 'value'"),
        ((*CALL, "-a", "[1"), 2, "not JSON"),
        (("call", "-A", "tasks:app", "tasks.ecoh", "-a", "[1]"), 2, "did you mean tasks.echo?"),
        ((*CALL, "-a", "[1]", "--queue", "nope"), 2, 'no queue "nope" is declared'),
        (("call", "-A", "tasks:nope", "tasks.echo"), 66, "module 'tasks' has no 'nope'; did you mean tasks:app?"),
        (("call", "-A", "nope:app", "tasks.echo"), 66, "no module 'nope'"),
        (("purge", "-A", "tasks:app", "-Q", "nope"), 2, "no queue 'nope' is declared"),
        (("worker",), 2, "which app?"),
        (("nonsense",), 2, "No such command 'nonsense'"),
    ],
)
def test_wrong_use(scratch: MakeScratch, arguments: tuple[str, ...], code: int, text: str) -> None:
    done = scratch(TASKS, CONFIG).run(*arguments)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_purge_asks_first_and_throws_away_only_after_a_yes(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    app.run(*CALL, "-a", "[1]")
    refused = app.run("purge", "-A", "tasks:app", "-Q", "lo", stdin="n\n")
    assert refused.returncode == 1
    assert "lo: 1 messages" in refused.stderr
    done = app.run("purge", "-A", "tasks:app", "-Q", "lo", stdin="y\n")
    assert (done.returncode, done.stdout) == (0, "lo: 1 messages thrown away\n")
