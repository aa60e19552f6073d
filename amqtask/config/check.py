"""A tree -> the model, with every mistake as a Problem at its place."""

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from amqtask.config.model import Config
from amqtask.config.tree import Node, Path
from amqtask.core.finding import nearest
from amqtask.errors import Problem

_EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A validated configuration: the model where there is one, and what is left of the tree without the mistakes.

    `lost` are the paths that were left out of it because they were wrong.
    """

    config: Config | None
    tree: Node
    problems: tuple[Problem, ...]
    lost: frozenset[Path]


def check_model(tree: Node) -> Checked:
    """Validate a tree. What is wrong is reported and left out, so that later checks can go on with the rest."""
    problems: list[Problem] = []
    lost = set(tree.broken())
    tree = tree.without(lost)
    while True:
        try:
            return Checked(Config.model_validate(tree.plain()), tree, tuple(problems), frozenset(lost))
        except ValidationError as error:
            # The exception itself goes no further: its text quotes the input, passwords and all.
            errors = error.errors(include_url=False)
        found, paths = _explain(errors, tree, lost)
        problems += found
        lost |= paths
        if () in paths:
            return Checked(None, tree, tuple(problems), frozenset(lost))
        tree = tree.without(paths)


def _explain(errors: Sequence[ErrorDetails], tree: Node, lost: set[Path]) -> tuple[list[Problem], set[Path]]:
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        loc = (*error["loc"], str(error["ctx"]["key"])) if error["type"] == "wrong" else error["loc"]
        path = tree.follow(loc)[1]
        by_path.setdefault(path, []).append(error)
    problems = []
    for path, group in by_path.items():
        node = tree.follow(path)[0]
        missing = [error for error in group if error["type"] == "missing"]
        if missing:
            # What is missing because it was wrong has been reported.
            names = [error["loc"][-1] for error in missing if (*path, error["loc"][-1]) not in lost]
            problems += [node.origin.problem(f'{_name(path)}: "{name}" is missing') for name in names]
        elif group[0]["type"] == "extra_forbidden":
            problems.append(_unknown_key(path, node))
        else:
            # A union complains once for each of its members.
            told = list(dict.fromkeys(_message(error) for error in group))
            *first, last = [told[0], *(text.removeprefix("must be ") for text in told[1:])]
            message = f"{', '.join(first)} or {last}" if first else last
            problems.append(node.origin.problem(f"{_name(path)}: {message}", _hint(group[0], node)))
    return problems, set(by_path)


def _name(path: Path) -> str:
    """`queues.hi.bind[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the configuration"


def _unknown_key(path: Path, node: Node) -> Problem:
    key = str(path[-1])
    known = known_keys(path[:-1])
    where = f" in {_name(path[:-1])}" if path[:-1] else ""
    return (node.key or node.origin).problem(f'unknown key "{key}"{where}', nearest(key, known))


def _message(error: ErrorDetails) -> str:
    kind = error["type"]
    context: Mapping[str, object] = error.get("ctx", {})
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "greater_than":
        return f"must be more than {context['gt']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    if kind == "too_short":
        return "must not be empty"
    return error["msg"]


def _hint(error: ErrorDetails, node: Node) -> str | None:
    if error["type"] == "literal_error" and isinstance(node.content, str):
        expected = str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")
        close = get_close_matches(node.content, [word.strip("'") for word in expected], n=1)
        return f'did you mean "{close[0]}"?' if close else None
    if error["type"] == "string_type" and isinstance(node.content, (bool, int, float)):
        return "put it in quotes"
    return None


def known_keys(path: Path) -> list[str]:
    """The keys that the model knows at a path."""
    annotations: list[object] = [Config]
    for part in path:
        annotations = [found for annotation in annotations for found in _step(annotation, part)]
    keys = [name for annotation in annotations for model in _models(annotation) for name in _fields(model)]
    return sorted(dict.fromkeys(keys))


def _fields(model: type[BaseModel]) -> dict[str, object]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models in an annotation, through Annotated and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return [model for argument in typing.get_args(annotation) for model in _models(argument)]
    return []


def _step(annotation: object, part: str | int) -> list[object]:
    """What an annotation says of the value under a key or an index."""
    if models := _models(annotation):
        return [fields[str(part)] for model in models if str(part) in (fields := _fields(model))]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin in (dict, Mapping):
        return [arguments[1]]
    if origin in (tuple, list):
        return [arguments[0]]
    return []
