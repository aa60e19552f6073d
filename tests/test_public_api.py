"""The public names and how they are called, against tests/public_api.txt.

A change there is a change for users: it belongs into CHANGELOG.md too. To accept one:
`python -m tests.test_public_api > tests/public_api.txt`.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import amqtask

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def describe() -> str:
    return "".join(f"{line}\n" for name in sorted(amqtask.__all__) for line in _lines(name, getattr(amqtask, name)))


def _lines(name: str, thing: object) -> Iterator[str]:
    if not inspect.isclass(thing):
        assert callable(thing)
        yield f"def {name}{_parameters(thing)}"
        return
    bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
    yield f"class {name}" + (f"({bases})" if bases else "")
    if "__init__" in vars(thing):
        yield f"    {name}{_parameters(thing)}"
    for attribute, value in sorted(vars(thing).items()):
        if attribute.startswith("_") or inspect.ismemberdescriptor(value):
            continue
        if isinstance(value, classmethod | staticmethod) or inspect.isfunction(value):
            yield f"    .{attribute}{_parameters(getattr(thing, attribute))}"
        else:
            yield f"    .{attribute}"


def _parameters(function: Callable[..., object]) -> str:
    """How it is called, without types: those are what tests/typing is for."""
    given = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    text = str(inspect.Signature(given))
    return text.replace("<factory>", "…")


def test_the_public_names_are_called_as_before() -> None:
    before, now = SNAPSHOT.read_text().splitlines(), describe().splitlines()

    assert "\n".join(difflib.unified_diff(before, now, "before", "now", lineterm="")) == ""


def test_every_public_name_says_what_it_is() -> None:
    silent = [name for name in amqtask.__all__ if not (getattr(amqtask, name).__doc__ or "").strip()]

    assert silent == []


def test_the_version_is_that_of_the_package() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()

    assert f'version = "{amqtask.__version__}"' in project


if __name__ == "__main__":
    print(describe(), end="")  # noqa: T201
