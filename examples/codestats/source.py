"""What is in a Python file, and which files there are. Nothing here knows of tasks or brokers."""

import ast
import io
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

MODULES = "modules"
"""Stands in for the package of a module that is in none, like `os`."""


class Stats(TypedDict):
    """What was counted in one file."""

    lines: int
    functions: int
    classes: int
    nesting: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to count, and the package that it belongs to."""

    path: Path
    package: str


def measure(source: bytes) -> Stats:
    """Count the lines, functions, classes and deepest nesting of a Python source.

    Raises:
        SyntaxError: it is not Python, at least not of this version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in somebody's string is not our concern
        nodes = list(ast.walk(ast.parse(source)))
    return Stats(
        lines=len(source.splitlines()),
        functions=sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        nesting=_deepest(source),
    )


def _deepest(source: bytes) -> int:
    depth = deepest = 0
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        deepest = max(deepest, depth)
    return deepest


def standard_library() -> Iterator[SourceFile]:
    """The source files of the standard library of the Python that runs this, in order."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        *folders, _ = path.relative_to(root).parts
        if not {"site-packages", "dist-packages"} & set(folders):
            yield SourceFile(path, package=folders[0] if folders else MODULES)
