"""Commands: their names, their parameters, and how one is carried out on a node.

A command sees the node through `NodeView` only. It answers by calling `done` once, at once or later. What it cannot do
is an answer, too: `{"error": …}`, which names what is wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from amqtask.core.finding import nearest
from amqtask.core.message import Json
from amqtask.core.ratelimit import parse_rate
from amqtask.core.standing import Order, texts

Arguments: TypeAlias = Mapping[str, Json]
Done: TypeAlias = Callable[[object], None]
Kind: TypeAlias = Literal["inspect", "control"]
Type: TypeAlias = Literal["text", "texts", "integer", "seconds", "flag", "rate", "object", "any"]


class CommandFailed(Exception):
    """The node cannot do what it is told; the text says why."""


@dataclass(frozen=True, slots=True)
class ProcessAnswer:
    """What a process said; `value` is None where it did not answer in time."""

    index: int
    pid: int
    value: Json


class NodeView(Protocol):
    """A node, as commands see it. All methods belong to one thread."""

    name: str

    def clock(self) -> int:
        """The node's Lamport clock."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def tasks(self) -> Mapping[str, Mapping[str, Json]]:
        """The registered tasks and what is told of them."""
        ...

    def queues(self) -> Mapping[str, Mapping[str, Json]]:
        """The consumed queues, in Celery's form."""
        ...

    def fact(self, name: str) -> Json:
        """Something that does not change while the node runs."""
        ...

    def stats(self) -> dict[str, Json]:
        """The numbers of the node itself, without what its processes know."""
        ...

    def processes(self) -> list[dict[str, Json]]:
        """Each process: pid, state, what it executes and for how long, memory, counters."""
        ...

    def board(self, pid: int) -> list[dict[str, Json]]:
        """What a process executes, as far as is seen without asking it."""
        ...

    def ask(
        self,
        question: str,
        arguments: Arguments,
        then: Callable[[list[ProcessAnswer]], None],
        *,
        one: bool = False,
        patience: float | None = None,
    ) -> None:
        """Ask all processes, or `one`; `then` is called when all have answered, or after `patience` seconds."""
        ...

    def sample_memory(self) -> Sequence[tuple[float, int]]:
        """Take a sample of what all processes need together; the last ones: when (seconds since the epoch), bytes."""
        ...

    def order(self, method: str, arguments: Arguments, *, keep: bool) -> None:
        """Have an order hold on this node, for processes that start later, too; `keep`: and for nodes."""
        ...

    def forget(self, key: str) -> bool:
        """Take an order away, from the control log, too; whether there was one."""
        ...

    def standing(self) -> Sequence[tuple[str, Order]]:
        """The orders that hold."""
        ...

    def act(self, action: str, arguments: Arguments) -> str:
        """Change the node itself: its processes, its heartbeat, its end. What was done, as a sentence.

        Raises:
            CommandFailed: it cannot.
        """
        ...

    def consume(self, arguments: Arguments, then: Callable[[str | None], None]) -> None:
        """See that a queue is there to be consumed; `then` gets what is wrong, or None."""
        ...


REQUIRED: Json = "\0required"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a command."""

    name: str
    type: Type = "text"
    default: Json = REQUIRED

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default == REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A command: who calls it what, with which parameters, and what carries it out."""

    name: str
    kind: Kind
    help: str
    run: Callable[[NodeView, Arguments, Done], None]
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    lasting: bool = False
    """It takes `persist`, which keeps the order for nodes that start later."""
    open: bool = field(default=False)
    """It takes arguments that are not listed."""


class Commands:
    """The commands of a node by name."""

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._specs = {name: spec for spec in specs for name in (spec.name, *spec.aliases)}

    def find(self, name: str) -> Spec | None:
        """The command of a name or an alias."""
        return self._specs.get(name)

    def run(self, name: str, arguments: Arguments, view: NodeView, done: Done) -> None:
        """Carry a command out; `done` gets the answer, once. Raises nothing that a command means to say."""
        spec = self._specs.get(name)
        if spec is None:
            done({"error": f"unknown command {name!r}; {nearest(name, self._specs)}"})
            return
        try:
            spec.run(view, bind(spec, arguments), done)
        except CommandFailed as error:
            done({"error": str(error)})


def bind(spec: Spec, arguments: Arguments) -> dict[str, Json]:
    """A command's arguments, each of its type, with the defaults.

    Raises:
        CommandFailed: one is missing, unknown, or of another type; it is named.
    """
    known = {parameter.name: parameter for parameter in spec.parameters}
    bound: dict[str, Json] = {}
    for name, value in arguments.items():
        if name == "persist" and spec.lasting:
            bound[name] = _convert(spec, Parameter(name, "flag"), value)
        elif name in known:
            bound[name] = _convert(spec, known[name], value)
        elif spec.open:
            bound[name] = value
        else:
            raise CommandFailed(f"{spec.name} has no argument {name!r}; {nearest(name, known)}")
    for name, parameter in known.items():
        if name not in bound:
            if parameter.is_required:
                raise CommandFailed(f"{spec.name} needs the argument {name!r}")
            bound[name] = parameter.default
    return bound


def _convert(spec: Spec, parameter: Parameter, value: Json) -> Json:
    try:
        return _of_type(parameter, value)
    except (TypeError, ValueError) as error:
        reason = f": {error}" if parameter.type == "rate" else f", not {value!r}"
        raise CommandFailed(f"{spec.name}: {parameter.name} is {_NAMES[parameter.type]}{reason}") from None


_NAMES: Mapping[str, str] = {
    "text": "a text",
    "texts": "a text or a list of texts",
    "integer": "a whole number that is not negative",
    "seconds": "a number of seconds, or nothing",
    "flag": "true or false",
    "rate": "a rate",
    "object": "an object",
}


def _of_type(parameter: Parameter, value: Json) -> Json:
    if value is None and not parameter.is_required:
        return parameter.default
    match parameter.type:
        case "texts":
            if isinstance(value, (dict, bool)) or value is None:
                raise TypeError
            return list(texts(value))
        case "integer":
            number = int(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1
            if number < 0:
                raise ValueError
            return number
        case "seconds":
            seconds = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else -1.0
            if not 0 <= seconds < float("inf"):
                raise ValueError
            return seconds
        case "flag":
            if value in ("true", "True", "1", 1, True):
                return True
            if value in ("false", "False", "0", 0, False):
                return False
            raise ValueError
        case "rate":
            parse_rate(value if isinstance(value, (str, int, float)) else repr(value))
            return str(value)
        case "object":
            if not isinstance(value, dict):
                raise TypeError
            return value
        case "text":
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                raise TypeError
            return str(value)
    return value
