"""`amqtask result`: looking at results that another process stored."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from amqtask.cli.main import run
from amqtask.core.failure import exception_to_dict
from amqtask.core.state import Progress, TaskResult, progress_to_json
from amqtask.results.base import ResultBackend
from amqtask.results.filesystem import create
from amqtask.results.setup import BackendSetup

DONE = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "amqtask.yaml"
    path.write_text(f"results:\n  backend: filesystem\n  url: {tmp_path / 'results'}\n")
    return str(path)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ResultBackend]:
    backend = create(BackendSetup(url=str(tmp_path / "results")))
    yield backend
    backend.close()


def put(backend: ResultBackend, report: TaskResult) -> None:
    kept = threading.Event()
    backend.store(report, reply_to=None, done=lambda _: kept.set())
    assert kept.wait(30)


def test_a_success_is_shown_with_what_is_known_of_the_task(
    config: str, backend: ResultBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    put(backend, TaskResult(task_id="a", status="SUCCESS", result={"x": 1}, name="shop.add", date_done=DONE))

    assert run(["-C", config, "result", "a"]) == 0

    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == 'SUCCESS   {"x": 1}'
    assert "task     shop.add" in shown
    assert "done     2026-03-01T12:00:00.000+00:00" in shown


def test_a_failure_shows_its_traceback_and_is_the_exit_code(
    config: str, backend: ResultBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    error = exception_to_dict(ValueError("bad"))
    put(backend, TaskResult(task_id="a", status="FAILURE", result=error, traceback="Traceback: there", date_done=DONE))

    assert run(["-C", config, "result", "a"]) == 1

    assert capsys.readouterr().out.splitlines()[0] == "FAILURE   ValueError: bad"


def test_an_id_of_which_nothing_is_known_is_pending(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-C", config, "result", "nobody"]) == 0

    assert capsys.readouterr().out == "PENDING\n"


def test_json_is_celerys_form(config: str, backend: ResultBackend, capsys: pytest.CaptureFixture[str]) -> None:
    put(backend, TaskResult(task_id="a", status="SUCCESS", result=4, date_done=DONE))

    run(["-C", config, "result", "a", "--json"])

    shown = json.loads(capsys.readouterr().out)
    assert (shown["task_id"], shown["status"], shown["result"]) == ("a", "SUCCESS", 4)


def test_watching_shows_each_state_until_the_end(
    config: str, backend: ResultBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = progress_to_json(Progress(current=3, total=9, message="rows"))
    task = TaskResult(task_id="a", status="PROGRESS", result=progress)
    put(backend, task)
    codes: list[int] = []
    watching = threading.Thread(target=lambda: codes.append(run(["-C", config, "result", "a", "--watch"])))
    watching.start()
    shown = ""
    while "PROGRESS" not in shown:
        shown += capsys.readouterr().out
    put(backend, replace(task, status="SUCCESS", result=None, date_done=DONE))
    watching.join(60)

    shown += capsys.readouterr().out
    assert codes == [0]
    assert [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")] == ["PROGRESS", "SUCCESS"]
    assert "3/9 rows" in shown


def test_watching_ends_with_the_timeout(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-C", config, "result", "a", "--watch", "--timeout", "0.1"]) == 1

    assert "no result of a within 0.1 s" in capsys.readouterr().err


def test_the_rpc_backend_says_that_only_the_sender_gets_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "amqtask.yaml"
    path.write_text("results:\n  backend: rpc\n")

    assert run(["-C", str(path), "result", "a"]) == 1

    assert "lets any process ask" in capsys.readouterr().err
