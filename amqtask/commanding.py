"""Own commands of remote control: functions of the app that operators call.

One process of each node answers an inspect command; every process carries out a control command, because each has
memory of its own.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_type_hints, overload

from amqtask.errors import AlreadyRegistered, NotRegistered

Function = TypeVar("Function", bound=Callable[..., Any])
Kind: TypeAlias = Literal["control", "inspect"]

_TYPES: Mapping[object, str] = {
    str: "text",
    int: "integer",
    float: "seconds",
    bool: "flag",
    list[str]: "texts",
    dict: "object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCommand:
    """A command that the app defines; its parameters' annotations say what may be given for them."""

    name: str
    kind: Kind
    function: Callable[..., Any]

    def to_json(self) -> dict[str, Any]:
        """What nodes and operators must know of it."""
        hints = get_type_hints(self.function)
        parameters = []
        for name, parameter in inspect.signature(self.function).parameters.items():
            required = parameter.default is inspect.Parameter.empty
            kind = _TYPES.get(hints.get(name), "any")
            parameters.append(
                {
                    "name": name,
                    "type": kind,
                    "required": required,
                    "default": None if required else json.loads(json.dumps(parameter.default, default=repr)),
                }
            )
        text = inspect.getdoc(self.function) or ""
        return {
            "name": self.name,
            "kind": self.kind,
            "help": text.partition("\n")[0],
            "parameters": parameters,
        }


class OwnCommands:
    """An app's own commands. `control` and `inspect` are decorators, with or without a name."""

    def __init__(self) -> None:
        self._commands: dict[str, OwnCommand] = {}

    @overload
    def control(self, function: Function, /) -> Function: ...
    @overload
    def control(self, function: None = None, /, *, name: str) -> Callable[[Function], Function]: ...
    def control(self, function: Any = None, /, *, name: str | None = None) -> Any:
        """Make a function a command of `amqtask control`.

        Raises:
            AlreadyRegistered: there is one of this name.
        """
        return self._decorate("control", function, name)

    @overload
    def inspect(self, function: Function, /) -> Function: ...
    @overload
    def inspect(self, function: None = None, /, *, name: str) -> Callable[[Function], Function]: ...
    def inspect(self, function: Any = None, /, *, name: str | None = None) -> Any:
        """Make a function a command of `amqtask inspect`.

        Raises:
            AlreadyRegistered: there is one of this name.
        """
        return self._decorate("inspect", function, name)

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call a command; what it returns, as JSON has it.

        Raises:
            NotRegistered: there is none of this name.
        """
        command = self._commands.get(name)
        if command is None:
            raise NotRegistered(f"no command {name!r} is defined")
        return json.loads(json.dumps(command.function(**arguments), default=repr))

    def to_json(self) -> list[dict[str, Any]]:
        """All of them, for those who must know them."""
        return [command.to_json() for command in self._commands.values()]

    def _decorate(self, kind: Kind, function: Function | None, name: str | None) -> Any:
        if function is not None:
            return self._add(kind, function, name or function.__name__)
        return lambda function: self._add(kind, function, name or function.__name__)

    def _add(self, kind: Kind, function: Function, name: str) -> Function:
        if name in self._commands:
            raise AlreadyRegistered(f"two commands are named {name!r}")
        self._commands[name] = OwnCommand(name=name, kind=kind, function=function)
        return function
