"""Where a configuration comes from: files, the environment, options, code; in this order, later ones win.

Every mistake is collected and reported with its place; nothing is ignored in silence.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from amqtask.config.check import check_model
from amqtask.config.loaded import LoadedConfig
from amqtask.config.meaning import check_meaning
from amqtask.config.topology import build_router
from amqtask.config.tree import DEFAULT, Node, Origin, Path, from_code
from amqtask.config.yaml_tree import parse_value, parse_yaml
from amqtask.errors import ConfigError, Problem

DEFAULT_FILE = "amqtask.yaml"
FILE_VARIABLE = "AMQTASK_CONFIG"
URL_VARIABLE = "AMQTASK_BROKER_URL"

# Lists of these sections are joined when files are merged; a file's own entries come before those that it includes.
_LISTS = ("bindings", "routes", "imports")


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    overrides: Sequence[str] = (),
) -> LoadedConfig:
    """Load `path`, else the file that AMQTASK_CONFIG names, else amqtask.yaml in the working folder, else defaults.

    `overrides` are texts such as `worker.concurrency=4`; AMQTASK_BROKER_URL takes the place of the broker's URLs.

    Raises:
        ConfigError: all mistakes that were found.
    """
    problems: list[Problem] = []
    given = os.fspath(path) if path is not None else env.get(FILE_VARIABLE)
    file = given or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)
    files = _Files(env, problems)
    tree = (files.read(file, None) if file is not None else None) or Node({}, DEFAULT)
    return _finish(tree, file, env, overrides, problems, complete=not files.failed)


def load_source(source: str | os.PathLike[str] | Mapping[str, object] | None, overrides: Sequence[str]) -> LoadedConfig:
    """Load what an App was given; the environment counts in any case.

    Raises:
        ConfigError: all mistakes that were found.
    """
    if isinstance(source, Mapping):
        return load_mapping(source, overrides=overrides, env=os.environ)
    return load_config(source, overrides=overrides)


def load_mapping(
    mapping: Mapping[str, object], *, env: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
) -> LoadedConfig:
    """Load what code gave; nothing is replaced in its texts, and it includes no files.

    Raises:
        ConfigError: all mistakes that were found.
    """
    problems: list[Problem] = []
    try:
        tree = from_code(mapping)
    except TypeError as error:
        raise ConfigError([Problem(message=str(error))]) from None
    if tree.child("include") is not None:
        problems.append(Problem(message="include is for files; code merges mappings itself"))
    return _finish(tree, None, env or {}, overrides, problems)


def _finish(
    tree: Node,
    file: str | None,
    env: Mapping[str, str],
    overrides: Sequence[str],
    problems: list[Problem],
    *,
    complete: bool = True,
) -> LoadedConfig:
    if url := env.get(URL_VARIABLE):
        _set(tree, ("broker", "url"), Node(url, Origin(source="environment", name=URL_VARIABLE)), problems)
    for text in overrides:
        _override(tree, text, problems)
    checked = check_model(tree)
    problems += checked.problems
    warnings: tuple[Problem, ...] = ()
    if complete:
        wrong, warnings = check_meaning(checked)
        problems += wrong
    if problems or checked.config is None:
        problems.sort(key=lambda problem: (problem.file or "", problem.line or 0, problem.column or 0))
        raise ConfigError(problems)
    return LoadedConfig(
        config=checked.config,
        tree=tree,
        origins=dict(tree.leaves()),
        router=build_router(checked.config),
        file=file,
        warnings=warnings,
    )


def _set(tree: Node, path: Path, value: Node, problems: list[Problem]) -> None:
    """Put a value into the tree; a broker's `url` takes the place of its `urls` and the other way round."""
    node = tree
    for part in path[:-1]:
        child = node.child(part)
        if isinstance(node.content, dict) and (child is None or child.content is None):
            child = node.content[str(part)] = Node({}, value.origin, value.origin)
        if child is None:
            break
        node = child
    last = path[-1]
    if isinstance(node.content, dict):
        node.content[str(last)] = replace(value, key=value.origin)
        if path[:-1] == ("broker",) and last in ("url", "urls"):
            node.content.pop("urls" if last == "url" else "url", None)
    elif isinstance(node.content, list) and isinstance(last, int) and last < len(node.content):
        node.content[last] = value
    else:
        problems.append(value.origin.problem(f"nothing can be set at {'.'.join(map(str, path))}"))


def _override(tree: Node, text: str, problems: list[Problem]) -> None:
    name, equals, value = text.partition("=")
    origin = Origin(source="option", name=name.strip())
    path = _split_path(name.strip())
    if not equals or path is None:
        problems.append(
            origin.problem(f"not a setting: {name.strip()!r}", "write a.b=value, as in worker.concurrency=4")
        )
        return
    node = parse_value(value, origin, problems) if value.strip() else Node("", origin)
    if node is not None:
        _set(tree, path, node, problems)


def _split_path(text: str) -> Path | None:
    """`queues."a.b".max_length` and `routes.0.key` as paths; None where it is none."""
    parts: list[str | int] = []
    rest = text
    while rest:
        if rest[0] in "\"'":
            part, quote, rest = rest[1:].partition(rest[0])
            if not quote or (rest and not rest.startswith(".")):
                return None
            rest = rest[1:] if rest else ""
            parts.append(part)
            continue
        part, dot, rest = rest.partition(".")
        if not part or (dot and not rest):
            return None
        parts.append(int(part) if part.isdigit() else part)
    return tuple(parts) or None


@dataclass(slots=True)
class _Files:
    """Reads a file and those that it includes."""

    env: Mapping[str, str]
    problems: list[Problem]
    reading: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    failed: bool = False

    def read(self, file: str, wanted: Origin | None) -> Node | None:
        """The merged tree of a file, or None where it is already read or not readable; `wanted` names it."""
        origin = wanted or Origin(source="file", name=file)
        real = os.path.realpath(file)
        if real in self.reading:
            chain = " -> ".join(_shown(name) for name in [*self.reading[self.reading.index(real) :], real])
            self.problems.append(origin.problem(f"the files include each other: {chain}"))
            return None
        if real in self.done:
            return None
        self.done.add(real)
        tree = self._parse(file, origin)
        if tree is None:
            self.failed = True
            return None
        self.reading.append(real)
        for other, place in self._included(file, tree):
            if (included := self.read(other, place)) is not None:
                self._merge(tree, included)
        self.reading.pop()
        return tree

    def _parse(self, file: str, origin: Origin) -> Node | None:
        try:
            text = FilePath(file).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            self.problems.append(origin.problem(f"{_shown(file)} is not UTF-8 text"))
            return None
        except OSError as error:
            self.problems.append(origin.problem(f"cannot read {_shown(file)}: {error.strerror or error}"))
            return None
        tree = parse_yaml(text, _shown(file), self.env, self.problems)
        if tree is not None and tree.content is None and not tree.is_broken:
            return replace(tree, content={})
        if tree is not None and not isinstance(tree.content, dict):
            self.problems.append(tree.origin.problem("a configuration is a mapping"))
            return None
        return tree

    def _included(self, file: str, tree: Node) -> list[tuple[str, Origin]]:
        """The files that `include:` names, each with its place."""
        node = tree.child("include")
        if node is None:
            return []
        if isinstance(node.content, str) and isinstance(tree.content, dict):
            node = Node([Node(node.content, node.origin)], node.origin, node.key)
            tree.content["include"] = node
        files: list[tuple[str, Origin]] = []
        for child in node.content if isinstance(node.content, list) else []:
            if not isinstance(child.content, str):
                continue
            found = self._matching(FilePath(file).parent, child.content)
            if not found:
                self.problems.append(child.origin.problem(f"no file matches {child.content!r}"))
            files += [(name, child.origin) for name in found]
        return files

    @staticmethod
    def _matching(folder: FilePath, pattern: str) -> list[str]:
        if any(character in pattern for character in "*?["):
            absolute = FilePath(pattern).is_absolute()
            base, relative = (FilePath("/"), pattern.lstrip("/")) if absolute else (folder, pattern)
            return sorted(str(name) for name in base.glob(relative) if name.is_file())
        return [str(folder / pattern)]

    def _merge(self, tree: Node, other: Node) -> None:
        """Merge an included file: sections key by key, lists one after the other; a value given twice is a mistake."""
        if not isinstance(tree.content, dict) or not isinstance(other.content, dict):
            return
        for name, theirs in other.content.items():
            ours = tree.content.get(name)
            if name == "include" or theirs.content is None:
                continue
            if ours is None or ours.content is None:
                tree.content[name] = theirs
            elif isinstance(ours.content, dict) and isinstance(theirs.content, dict):
                for key, value in theirs.content.items():
                    if (first := ours.content.get(key)) is not None:
                        self._twice(f"{name}.{key}", first, value)
                    else:
                        ours.content[key] = value
            elif name in _LISTS and isinstance(ours.content, list) and isinstance(theirs.content, list):
                ours.content.extend(theirs.content)
            else:
                self._twice(name, ours, theirs)

    def _twice(self, name: str, first: Node, second: Node) -> None:
        self.problems.append(
            (second.key or second.origin).problem(f"{name} is already given at {first.key or first.origin}")
        )


def _shown(file: str) -> str:
    """The file as people would write it: relative where it is in the working folder."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
