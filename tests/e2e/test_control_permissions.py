"""The broker's permissions separate those who send tasks from those who control: docs/control.md, "Who may"."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.support.names import unique
from tests.support.program import Scratch
from tests.support.rabbitmq import RabbitNode

TASKS = """
    @app.task(ignore_result=True)
    def add(a, b):
        note("add", a, b)
    """

ROUTED = """
    exchanges:
      tasks: {type: topic}
    queues:
      lo: {bind: ["tasks[#]"]}
    routes:
      - {task: "*", exchange: tasks, key: "lo"}
    """

OPERATOR = r"^(aqt\.control|reply\.aqt\.control|amq\.gen.*)$"


@pytest.fixture
def login(node: RabbitNode) -> Callable[[str, str, str, str], str]:
    """Makes a user with permissions (configure, write, read) on a URL's virtual host; the URL with that user."""

    def make(url: str, configure: str, write: str, read: str) -> str:
        parts, name = urlsplit(url), unique("user")
        node.ctl("add_user", name, "secret")
        node.ctl("set_permissions", "-p", parts.path[1:] or "/", name, configure, write, read)
        return f"amqp://{name}:secret@{parts.hostname}:{parts.port}{parts.path}"

    return make


def test_publishers_send_tasks_and_may_not_control(
    scratch: Callable[..., Scratch], vhost: str, login: Callable[[str, str, str, str], str]
) -> None:
    app = scratch(TASKS, ROUTED)
    with app.worker("-c", "1", "-n", "one@h"):
        publisher = ("--set", f"broker.url={login(vhost, '^$', '^tasks$', '^$')}", "--set", "broker.declare=never")
        sent = app.run("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]", *publisher)
        assert sent.returncode == 0, sent.stderr
        refused = app.run("inspect", "ping", "-n", "1", "-A", "tasks:app", *publisher)
        assert refused.returncode == 77, refused.stderr
        assert "aqt.control" in refused.stderr


def test_operators_control_and_may_not_send_tasks(
    scratch: Callable[..., Scratch], vhost: str, login: Callable[[str, str, str, str], str]
) -> None:
    app = scratch(TASKS, ROUTED)
    with app.worker("-c", "1", "-n", "one@h"):
        operator = (
            "--set",
            f"broker.url={login(vhost, OPERATOR, OPERATOR, OPERATOR)}",
            "--set",
            "broker.declare=never",
        )
        asked = app.run("inspect", "ping", "-n", "1", "-A", "tasks:app", *operator)
        assert asked.stdout == "one@h: pong\n", asked.stderr
        told = app.run("control", "rate_limit", "tasks.add", "5/s", "-n", "1", "-A", "tasks:app", *operator)
        assert "new rate limit set" in told.stdout, told.stderr
        refused = app.run("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]", *operator)
        assert refused.returncode == 77, refused.stderr
