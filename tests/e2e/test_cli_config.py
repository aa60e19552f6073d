"""`amqtask config` and `amqtask routes` as they are called: output and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import amqtask
from tests.support.cli import ROOT, Shell

GOOD = """\
    broker: {url: "amqp://shop:hunter2@broker.example/"}
    exchanges: {tasks: {}}
    queues: {hi: {bind: ["tasks[hi.#]"]}}
    routes: [{task: "mail.*", exchange: tasks, key: "hi.{task}"}]
    """

BAD = """\
    broker: {hartbeat: 3}
    queues: {hi: {bind: ["task[hi.#]"]}}
    exchanges: {tasks: {}}
    """


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_good_file_is_told_to_be_good(shell: Shell) -> None:
    shell.write(GOOD)

    done = shell.run("config", "check")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "amqtask.yaml: ok: 1 exchange, 2 queues, 1 binding, 1 route\n"


def test_all_mistakes_are_told_and_the_exit_code_says_configuration(shell: Shell) -> None:
    shell.write(BAD)

    done = shell.run("config", "check")

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.splitlines() == [
        'error: amqtask.yaml:1:10: unknown key "hartbeat" in broker (did you mean "heartbeat"?)',
        'error: amqtask.yaml:2:22: binding of "hi" to "task": no exchange "task" is declared (did you mean "tasks"?)',
        "2 mistakes in the configuration",
    ]


@pytest.mark.parametrize(
    "arguments", [("-C", "other.yaml", "config", "check"), ("config", "check", "-C", "other.yaml")]
)
def test_the_file_may_be_named_on_either_side_of_the_command(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.write(GOOD, "other.yaml")

    done = shell.run(*arguments)

    assert done.returncode == 0
    assert done.stdout.startswith("other.yaml: ok")


def test_the_file_may_be_named_in_the_environment(shell: Shell) -> None:
    shell.write(GOOD, "other.yaml")

    assert shell.run("config", "check", AMQTASK_CONFIG="other.yaml").returncode == 0


def test_without_a_file_there_is_nothing_to_check(shell: Shell) -> None:
    done = shell.run("config", "check")

    assert done.returncode == 78
    assert "there is no configuration file (write amqtask.yaml here, or name a file" in done.stderr


def test_a_file_that_does_not_exist_is_named(shell: Shell) -> None:
    done = shell.run("-C", "nowhere.yaml", "config", "check")

    assert done.returncode == 78
    assert "cannot read nowhere.yaml: No such file or directory" in done.stderr


def test_what_is_no_yaml_is_told_without_a_traceback(shell: Shell) -> None:
    shell.write("queues: [")

    done = shell.run("config", "check")

    assert done.returncode == 78
    assert done.stderr.startswith("error: amqtask.yaml:2:1: not valid YAML") or "amqtask.yaml:1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_are_told_and_strict_takes_them_for_mistakes(shell: Shell) -> None:
    shell.write("queues: {hi: {}}")

    done, strict = shell.run("config", "check"), shell.run("config", "check", "--strict")

    assert done.returncode == 0
    assert done.stderr.startswith('warning: amqtask.yaml:1:10: nothing is bound to the queue "hi"')
    assert strict.returncode == 78


def test_show_tells_every_setting_and_its_origin_and_no_password(shell: Shell) -> None:
    shell.write(GOOD)

    done = shell.run("config", "show", "--set", "worker.prefetch=7", AMQTASK_BROKER_URL="amqp://u:hunter2@h/")

    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["broker.url"] == ["amqp://u:***@h/", "$AMQTASK_BROKER_URL"]
    assert rows["worker.prefetch"] == ["7", "--set"]
    assert rows["worker.shutdown_timeout"] == ["25s", "default"]
    assert rows["queues.hi.bind[0].exchange"] == ["tasks", "amqtask.yaml:3"]


def test_show_can_be_limited(shell: Shell) -> None:
    shell.write(GOOD)

    section = shell.run("config", "show", "routes", "log")
    changed = shell.run("config", "show", "--changed", "--json")
    wrong = shell.run("config", "show", "worke")

    assert {line.split()[0] for line in section.stdout.splitlines()} == {
        "routes[0].task",
        "routes[0].exchange",
        "routes[0].key",
        "log.level",
        "log.format",
    }
    assert json.loads(changed.stdout)["broker.url"] == {
        "value": "amqp://shop:***@broker.example/",
        "origin": "amqtask.yaml:1",
    }
    assert "worker.pool" not in json.loads(changed.stdout)
    assert wrong.returncode == 2


def test_show_stops_quietly_when_nobody_reads_on(shell: Shell) -> None:
    shell.write(GOOD)

    done = subprocess.run(
        f"{sys.executable} -m amqtask config show --all | head -n 1",
        shell=True,
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.stdout.startswith("name ")
    assert done.stderr == ""


def test_schema_prints_the_committed_schema(shell: Shell) -> None:
    done = shell.run("config", "schema")

    assert json.loads(done.stdout) == json.loads((ROOT / "configs/amqtask.schema.json").read_text(encoding="utf-8"))


def test_a_wrong_override_is_told(shell: Shell) -> None:
    done = shell.run("config", "show", "--set", "worker.concurency=3")

    assert done.returncode == 78
    assert done.stderr == 'error: --set: unknown key "concurency" in worker (did you mean "concurrency"?)\n'


# routes explain


def test_explain_tells_where_a_task_goes_and_why(shell: Shell) -> None:
    shell.write(GOOD)

    done = shell.run("routes", "explain", "mail.send")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "task      mail.send",
        "exchange  tasks (topic)",
        "key       hi.mail.send",
        "queues    hi",
        'why       exchange "tasks" and key "hi.{task}" by the route "mail.*" (routes[0])',
    ]


def test_explain_fills_the_key_from_the_arguments(shell: Shell) -> None:
    shell.write(
        """
        exchanges: {tasks: {}}
        queues: {pdf: {bind: ["tasks[report.pdf]"]}}
        routes: [{task: report, exchange: tasks, key: "report.{kwargs.kind}"}]
        """
    )

    there = shell.run("routes", "explain", "report", "-k", '{"kind": "pdf"}', "--json")
    nowhere = shell.run("routes", "explain", "report", "-k", '{"kind": "csv"}')
    without = shell.run("routes", "explain", "report")

    assert json.loads(there.stdout)["queues"] == ["pdf"]
    assert nowhere.returncode == 1
    assert "none: it would be unroutable" in nowhere.stdout
    assert without.returncode == 1
    assert 'needs the keyword argument "kind"' in without.stderr


def test_explain_without_a_route_says_so(shell: Shell) -> None:
    shell.write(GOOD)

    done = shell.run("routes", "explain", "other")

    assert done.returncode == 1
    assert done.stderr.startswith("error: no route takes other")


@pytest.mark.parametrize(
    ("value", "words"), [("{", "not JSON"), ("[1]", "not a JSON object"), ("3", "not a JSON object")]
)
def test_keyword_arguments_that_are_no_json_object_are_wrong_usage(shell: Shell, value: str, words: str) -> None:
    shell.write(GOOD)

    done = shell.run("routes", "explain", "mail.send", "-k", value)

    assert done.returncode == 2
    assert words in done.stderr


def test_explain_counts_the_options_of_the_apps_own_task(shell: Shell) -> None:
    shell.write(GOOD)
    shell.write(
        """
        from amqtask import App

        app = App("shop")


        @app.task(name="report", queue="hi", priority=3)
        def report():
            pass
        """,
        "shop.py",
    )

    done = shell.run("-A", "shop:app", "routes", "explain", "report")

    assert done.returncode == 0, done.stderr
    assert "priority  3" in done.stdout
    assert 'why       queue "hi" by the task\'s options' in done.stdout


# the command line itself


def test_the_version_is_told(shell: Shell) -> None:
    done = shell.run("--version")

    assert (done.returncode, done.stdout) == (0, f"amqtask {amqtask.__version__}\n")


def test_the_help_lists_commands_and_exit_codes(shell: Shell) -> None:
    done = shell.run("--help")

    assert done.returncode == 0
    for words in ("config", "topology", "routes", "78 wrong configuration"):
        assert words in done.stdout


@pytest.mark.parametrize("arguments", [("nothing",), ("config", "chek"), ("config", "check", "--no-such-option")])
def test_wrong_usage_is_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run(*arguments).returncode == 2


@pytest.mark.parametrize(
    ("app", "code", "words"),
    [
        ("nowhere:app", 66, "no module 'nowhere'"),
        ("shop:ap", 66, "did you mean shop:app?"),
        ("broken:app", 70, "ZeroDivisionError"),
    ],
)
def test_an_app_that_is_not_there_is_told_from_one_that_cannot_be_imported(
    shell: Shell, app: str, code: int, words: str
) -> None:
    shell.write("from amqtask import App\napp = App('shop')\n", "shop.py")
    shell.write("1 / 0\n", "broken.py")

    done = shell.run("-A", app, "config", "show")

    assert done.returncode == code
    assert words in done.stderr


def test_the_apps_configuration_is_checked_where_there_is_an_app(shell: Shell) -> None:
    shell.write("from amqtask import App\napp = App('shop', config={'queus': {}})\n", "shop.py")

    done = shell.run("-A", "shop", "config", "check")

    assert done.returncode == 78
    assert 'unknown key "queus" (did you mean "queues"?)' in done.stderr
