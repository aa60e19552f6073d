"""YAML text -> a tree with places.

Scalars follow YAML 1.2's core schema, not 1.1's: `no`, `on` and `12:30` are text; `0755` is refused, because 1.1 reads
it as octal and 1.2 does not. A field for a truth value takes `on` and `no` nevertheless; a field for text keeps them.
"""

import re
from collections.abc import Callable, Mapping

import yaml

from amqtask.config.tree import Node, Origin
from amqtask.errors import Problem

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_VARIABLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}|(?P<bad>\$\{)")

# Aliases make a short text stand for a long one; no configuration that people wrote comes near this.
MOST_NODES = 100_000
DEEPEST = 100


class _Loader(_Base):
    """Composes nodes with the tags of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's name and type


for _tag, _pattern in (
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("null", r"~|null|Null|NULL|"),
    ("int", _INT.pattern),
    ("float", _FLOAT.pattern),
    ("merge", r"<<"),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})$"), None)


def parse_yaml(text: str, file: str, env: Mapping[str, str], problems: list[Problem]) -> Node | None:
    """The tree of one YAML document with `${VAR}` and `${VAR:-default}` replaced; mistakes go to `problems`.

    None where the text is not YAML at all.
    """

    def place(line: int, column: int) -> Origin:
        return Origin(source="file", name=file, line=line, column=column)

    return _Reader(place, env, problems).read(text)


def parse_value(text: str, origin: Origin, problems: list[Problem]) -> Node | None:
    """The value of an option, in YAML's flow style; nothing is replaced in it."""
    return _Reader(lambda line, column: origin, None, problems).read(text)


def _is_too_deep(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            return True
    return False


class _Reader:
    """Reads one document."""

    def __init__(
        self, place: Callable[[int, int], Origin], env: Mapping[str, str] | None, problems: list[Problem]
    ) -> None:
        self._place = place
        self._env = env
        self._problems = problems
        self._count = 0
        self._open: set[int] = set()

    def read(self, text: str) -> Node | None:
        try:
            # libyaml composes recursively in C: a text that is nothing but brackets would end the process.
            if _is_too_deep(text):
                raise RecursionError
            root = yaml.compose(text, Loader=_Loader)
            return Node({}, self._place(1, 1)) if root is None else self._node(root)
        except RecursionError:
            self._problems.append(self._place(1, 1).problem("the values are nested too deeply"))
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            origin = self._place(mark.line + 1, mark.column + 1) if mark else self._place(1, 1)
            # Not str(error): it quotes the line, and the line may hold a password.
            words = ", ".join(part for part in (error.context, error.problem) if part)
            lines = text.splitlines()[mark.line : mark.line + 1] if mark else []
            hint = 'inside { } and [ ] put "${…}" in quotes' if any("${" in line for line in lines) else None
            self._problems.append(origin.problem(f"not valid YAML: {words}", hint))
            return None
        except yaml.reader.ReaderError as error:
            number = text.count("\n", 0, error.position) + 1
            self._problems.append(
                self._place(number, 1).problem("not valid YAML: a character that YAML does not allow")
            )
            return None

    def _origin(self, node: yaml.Node) -> Origin:
        return self._place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, message: str, hint: str | None = None) -> None:
        self._problems.append(self._origin(node).problem(message, hint))

    def _node(self, node: yaml.Node, key: Origin | None = None) -> Node:
        origin = self._origin(node)
        self._count += 1
        if self._count > MOST_NODES:
            if self._count == MOST_NODES + 1:
                self._problem(node, f"the document has more than {MOST_NODES} values once its aliases are followed")
            return Node(None, origin, key, is_broken=True)
        if id(node) in self._open:
            self._problem(node, "an alias inside the value that it stands for")
            return Node(None, origin, key, is_broken=True)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return Node(self._mapping(node), origin, key)
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                return Node([self._node(child) for child in node.value], origin, key)
            assert isinstance(node, yaml.ScalarNode)
            before = len(self._problems)
            content = self._scalar(node)
            return Node(content, origin, key, is_broken=len(self._problems) > before)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        self._check_tag(node, "map")
        children: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, "a key must be plain text")
                continue
            if key.tag == _TAG + "merge":
                self._merge(value, merged)
                continue
            name = str(key.value)
            if (first := children.get(name)) is not None and first.key is not None:
                self._problem(key, f'duplicate key "{name}"', f"first at line {first.key.line}")
                continue
            children[name] = self._node(value, self._origin(key))
        return {**merged, **children}

    def _merge(self, node: yaml.Node, merged: dict[str, Node]) -> None:
        """`<<: *other`: the keys of other mappings, where the mapping has none of its own; the first mapping wins."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            child = self._node(source)
            if not isinstance(child.content, dict):
                self._problem(source, "<< takes a mapping or a list of mappings")
                continue
            for name, value in child.content.items():
                merged.setdefault(name, value)

    def _check_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != _TAG + kind:
            self._problem(node, f"the tag {node.tag.replace(_TAG, '!!')} is not known here")

    def _scalar(self, node: yaml.ScalarNode) -> bool | int | float | str | None:
        text = str(node.value)
        tag = node.tag.removeprefix(_TAG)
        if self._env is not None and "${" in text:
            return self._substitute(node, text)
        if tag == "str" or node.style not in (None, ""):
            if node.tag != _TAG + "str":
                self._problem(node, f"the tag {node.tag.replace(_TAG, '!!')} is not known here")
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int" and _INT.fullmatch(text):
            if _LEADING_ZERO.fullmatch(text):
                self._problem(
                    node, f"{text} is octal to some readers of YAML", f'write {text.lstrip("+-0") or "0"}, or "{text}"'
                )
                return None
            return int(text, 0)
        if tag == "float" and _FLOAT.fullmatch(text):
            return float(text)
        known = tag in ("int", "float")
        shown = node.tag.replace(_TAG, "!!")
        self._problem(node, f"the tag {shown} {'does not fit this value' if known else 'is not known here'}")
        return None

    def _substitute(self, node: yaml.ScalarNode, text: str) -> str:
        """The text with its variables replaced. It stays text: a field for numbers reads the number in it."""

        def value(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            if match["bad"]:
                self._problem(node, "not a variable; write ${NAME} or ${NAME:-default}, and $${ for the characters ${")
                return ""
            found = (self._env or {}).get(match["name"])
            if match["default"] is not None:
                return found or match["default"][2:]
            if found is None:
                self._problem(
                    node,
                    f"the environment variable {match['name']} is not set",
                    f"or write ${{{match['name']}:-default}}",
                )
                return ""
            return found

        return _VARIABLE.sub(value, text)
