"""Exceptions as data, and back without importing anything."""

import sys
import traceback
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.failure import exception_to_dict, rebuild_exception
from amqtask.core.state import TaskResult
from amqtask.errors import ConfigError, Problem, TaskFailed, TaskRevoked, WorkerLost
from amqtask.results.remote_error import error_of, find_loaded


class Outer:
    class Inner(Exception):
        """One with a qualified name."""


class NeedsTwo(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first


class SpeaksOfItself(Exception):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Mute(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")


class NotAnException:
    def __init__(self, *arguments: object) -> None:
        raise AssertionError("a message made an object of a type that is no exception")


def there_and_back(error: BaseException, remote: str | None = None) -> Exception:
    return rebuild_exception(exception_to_dict(error), find_loaded, remote)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 7),
        KeyError("k"),
        WorkerLost("gone"),
        Outer.Inner("deep"),
        FileNotFoundError(2, "No such file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_type_that_is_loaded_is_rebuilt(error: Exception) -> None:
    rebuilt = there_and_back(error)

    assert type(rebuilt) is type(error)
    assert rebuilt.args == error.args
    assert str(rebuilt) == str(error)


def test_a_constructor_with_another_signature_is_passed_by() -> None:
    rebuilt = there_and_back(NeedsTwo("a", "b"))

    assert type(rebuilt) is NeedsTwo
    assert str(rebuilt) == "a and b"


def test_a_constructor_that_reads_other_things_from_its_argument_does_not_garble_the_message() -> None:
    rebuilt = there_and_back(ConfigError([Problem(message="wrong")]))

    assert type(rebuilt) is ConfigError
    assert str(rebuilt) == "wrong"


def test_an_exception_that_cannot_be_printed_becomes_taskfailed() -> None:
    for error in (SpeaksOfItself(3), Mute("x")):
        rebuilt = there_and_back(error)

        assert type(rebuilt) is TaskFailed
        assert type(error).__name__ in str(rebuilt)


def test_a_type_that_is_not_loaded_becomes_taskfailed_and_is_not_imported() -> None:
    data = {"exc_type": "HTTPError", "exc_message": ["404"], "exc_module": "a_module_that_is_not_loaded"}

    rebuilt = rebuild_exception(data, find_loaded, "Traceback: there")

    assert type(rebuilt) is TaskFailed
    assert rebuilt.type_name == "a_module_that_is_not_loaded.HTTPError"
    assert rebuilt.remote_traceback == "Traceback: there"
    assert str(rebuilt) == "a_module_that_is_not_loaded.HTTPError: 404"


def test_no_module_is_imported_for_a_message() -> None:
    assert "this" not in sys.modules, "choose another module of the standard library that nobody imports"

    rebuild_exception({"exc_type": "X", "exc_message": [], "exc_module": "this"}, find_loaded)

    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "SystemExit"),
        ("builtins", "KeyboardInterrupt"),
        ("amqtask.errors", "Retry"),
        ("subprocess", "Popen"),
        (__name__, "NotAnException"),
        (__name__, "sys.exit"),
        (__name__, "Outer.Inner.__init__"),
        ("", ""),
    ],
)
def test_what_is_no_ordinary_exception_type_is_never_called(module: str, name: str) -> None:
    assert find_loaded(module, name) is None
    data = {"exc_type": name, "exc_message": ["echo"], "exc_module": module}
    assert type(rebuild_exception(data, find_loaded)) is TaskFailed


@pytest.mark.parametrize("data", [None, "text", 5, [], {}, {"exc_type": 3}, {"exc_message": "one"}])
def test_strange_data_become_taskfailed(data: object) -> None:
    assert type(rebuild_exception(data, find_loaded)) is TaskFailed


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_arguments_that_json_holds_come_back_as_they_are(argument: object) -> None:
    assert there_and_back(ValueError(argument)).args == (argument,)


def test_an_argument_that_json_cannot_hold_becomes_its_repr() -> None:
    rebuilt = there_and_back(ValueError({1, 2}, b"x", {"a": (1, object)}))

    assert rebuilt.args == ("{1, 2}", "b'x'", {"a": [1, "<class 'object'>"]})


def test_an_argument_whose_repr_fails_does_not_hide_the_exception() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "Broken" in str(there_and_back(ValueError(Broken())))


def test_the_remote_traceback_is_printed_with_the_error() -> None:
    rebuilt = there_and_back(ValueError("bad"), 'Traceback\n  File "tasks.py", line 3\nValueError: bad')

    assert 'File "tasks.py", line 3' in "".join(traceback.format_exception(rebuilt))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("expired", "expired"),
        (None, "revoked before it ran"),
        ({"exc_type": "TaskRevokedError", "exc_message": ["terminated"], "exc_module": "celery.nowhere"}, "terminated"),
        (exception_to_dict(TaskRevoked("by hand")), "by hand"),
    ],
)
def test_a_revoked_task_raises_one_type_whoever_reports_it(result: object, text: str) -> None:
    error = error_of(TaskResult(task_id="t", status="REVOKED", result=result))

    assert type(error) is TaskRevoked
    assert text in str(error)
