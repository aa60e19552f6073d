"""A configuration before it is validated: plain values that remember where they came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from amqtask.errors import Problem

Path: TypeAlias = tuple[str | int, ...]
Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from. Line and column count from 1; `name` is a file, a variable or an option's text."""

    source: Literal["file", "environment", "option", "code", "default"]
    name: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.source == "file":
            return f"{self.name}:{self.line}"
        if self.source == "environment":
            return f"${self.name}"
        return {"option": "--set", "code": "code", "default": "default"}[self.source]

    def problem(self, message: str, hint: str | None = None) -> Problem:
        """A problem at this place."""
        file = {"file": self.name, "environment": f"${self.name}", "option": "--set"}.get(self.source)
        return Problem(message=message, file=file, line=self.line, column=self.column, hint=hint)


DEFAULT = Origin(source="default")
CODE = Origin(source="code")


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a scalar, the children of a mapping by key, or those of a list.

    `key` is the place of its key, in a mapping. A broken value was already reported; nothing more is to be said of it.
    """

    content: "bool | int | float | str | dict[str, Node] | list[Node] | None"
    origin: Origin
    key: Origin | None = None
    is_broken: bool = False

    def plain(self) -> Plain:
        """The value without its places."""
        if isinstance(self.content, dict):
            return {name: child.plain() for name, child in self.content.items()}
        if isinstance(self.content, list):
            return [child.plain() for child in self.content]
        return self.content

    def child(self, part: str | int) -> "Node | None":
        """The child under a key or an index, or None."""
        if isinstance(self.content, dict):
            return self.content.get(str(part))
        if isinstance(self.content, list) and isinstance(part, int) and part < len(self.content):
            return self.content[part]
        return None

    def follow(self, path: Path) -> tuple["Node", Path]:
        """The deepest node on the path, and the path to it. Parts that do not exist are stepped over."""
        node: Node = self
        taken: Path = ()
        for part in path:
            child = node.child(part)
            if child is not None:
                node, taken = child, (*taken, part)
        return node, taken

    def place(self, path: Path) -> Origin:
        """Where the value of this path is, or what holds it; a mapping is where its key is."""
        node = self.follow(path)[0]
        return node.key if node.key is not None and isinstance(node.content, dict) else node.origin

    def broken(self, prefix: Path = ()) -> Iterator[Path]:
        """The paths of broken values."""
        if self.is_broken:
            yield prefix
        elif isinstance(self.content, dict):
            for name, child in self.content.items():
                yield from child.broken((*prefix, name))
        elif isinstance(self.content, list):
            for index, child in enumerate(self.content):
                yield from child.broken((*prefix, index))

    def leaves(self, prefix: Path = ()) -> Iterator[tuple[Path, Origin]]:
        """The path and the place of everything that has no children."""
        if isinstance(self.content, dict) and self.content:
            for name, child in self.content.items():
                yield from child.leaves((*prefix, name))
        elif isinstance(self.content, list) and self.content:
            for index, child in enumerate(self.content):
                yield from child.leaves((*prefix, index))
        else:
            yield prefix, self.origin

    def without(self, paths: "set[Path]", prefix: Path = ()) -> "Node":
        """The same tree without what is at these paths."""
        if isinstance(self.content, dict):
            kept = {
                name: child.without(paths, (*prefix, name))
                for name, child in self.content.items()
                if (*prefix, name) not in paths
            }
            return replace(self, content=kept)
        if isinstance(self.content, list):
            return replace(
                self,
                content=[
                    child.without(paths, (*prefix, index))
                    for index, child in enumerate(self.content)
                    if (*prefix, index) not in paths
                ],
            )
        return self


def from_code(value: object) -> Node:
    """A tree of what Python code gave as a configuration.

    Raises:
        TypeError: a key is not a string, or a value is of a type that YAML does not have.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key of the configuration is {type(key).__name__}, not text: {key!r}")
        return Node({key: from_code(item) for key, item in value.items()}, CODE, CODE)
    if isinstance(value, (list, tuple, set, frozenset)):
        return Node([from_code(item) for item in value], CODE)
    if value is None or isinstance(value, (bool, int, float, str)):
        return Node(value, CODE)
    raise TypeError(f"a value of the configuration is of type {type(value).__name__}")
