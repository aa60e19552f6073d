"""Sample: a call of one of an app's tasks that people can copy, made up from its signature."""

import inspect
import json
import shlex
from collections.abc import Iterable

from amqtask.task import AnyTask

BY_TYPE: dict[object, object] = {
    inspect.Parameter.empty: 1,
    int: 1,
    float: 1.5,
    str: "text",
    bool: True,
    list: [],
    dict: {},
    "int": 1,
    "float": 1.5,
    "str": "text",
    "bool": True,
}


def sample_call(tasks: Iterable[AnyTask]) -> str:
    """The name and arguments for `amqtask call`; empty where no task takes what can be made up."""
    for task in tasks:
        if task.name.startswith("celery."):
            continue
        given = _arguments(task)
        if given is not None:
            return " ".join([task.name, *given])
    return ""


def _arguments(task: AnyTask) -> list[str] | None:
    args: list[object] = []
    kwargs: dict[str, object] = {}
    for parameter in _parameters(task):
        if parameter.annotation not in BY_TYPE:
            return None
        value = BY_TYPE[parameter.annotation]
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = value
        else:
            args.append(value)
    options = (("-a", args), ("-k", kwargs))
    return [word for option, values in options if values for word in (option, shlex.quote(json.dumps(values)))]


def _parameters(task: AnyTask) -> list[inspect.Parameter]:
    """Those that a caller must give."""
    parameters = list(inspect.signature(task.run).parameters.values())
    if task.options.bind:
        del parameters[0]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one for one in parameters if one.default is one.empty and one.kind not in variable]
