"""Typed tasks: arguments and results that are pydantic models or dataclasses.

They travel as plain data. Who sends a call checks its arguments as the worker will; the worker hands the function
objects, and checks what it returns; who gets the result has an object again.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from amqtask.errors import AmqtaskError, WrongAnnotation, WrongArguments, WrongResult

if TYPE_CHECKING:
    from pydantic import ValidationError

_MOST_MISTAKES = 5


def typed_of(name: str, function: Callable[..., object], *, bind: bool, pydantic: bool | None) -> "Typed | None":
    """What the annotations of a task's function say of its values; None if there is nothing to check.

    With `pydantic=None` those count that have a model or a dataclass somewhere in them, with True all.

    Raises:
        WrongAnnotation: pydantic cannot check one; or `pydantic` is True, and one names what is not there.
    """
    if pydantic is False or not getattr(function, "__annotations__", None):
        return None
    hints = _hints(name, function, lenient=pydantic is None)
    chosen = {key: hint for key, hint in hints.items() if pydantic or _has_record(hint)}
    if not chosen:
        return None
    parameters = list(inspect.signature(function).parameters.values())
    return Typed(name, parameters[1:] if bind else parameters, chosen)


class Typed:
    """Checks the arguments and the result of one task."""

    def __init__(self, task: str, parameters: Sequence[inspect.Parameter], hints: Mapping[str, object]) -> None:
        """`hints` has the annotations to check by, that of the result as `return`."""
        self._positional: list[_Checked | None] = []
        self._by_name: dict[str, _Checked | None] = {}
        self._rest: _Checked | None = None
        self._others: _Checked | None = None
        for parameter in parameters:
            title = f"{task}: argument {parameter.name}"
            hint = hints.get(parameter.name)
            checked = None if hint is None else _Checked(hint, title, WrongArguments)
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._rest = checked
            elif parameter.kind is parameter.VAR_KEYWORD:
                self._others = checked
            else:
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    self._positional.append(checked)
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    self._by_name[parameter.name] = checked
        self._returns = _Checked(hints["return"], f"{task}: its result", WrongResult) if "return" in hints else None

    def plain(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments as plain data, which the worker is going to accept.

        Raises:
            WrongArguments: one does not fit its annotation.
        """
        return self._convert(args, kwargs, _Checked.plain)

    def objects(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments as the function wants them.

        Raises:
            WrongArguments: one does not fit its annotation.
        """
        return self._convert(args, kwargs, _Checked.object)

    def plain_result(self, value: object) -> object:
        """What the function returned, as plain data.

        Raises:
            WrongResult: it does not fit the annotation.
        """
        return value if self._returns is None else self._returns.plain(value)

    def result(self, value: object) -> object:
        """What the function returned, of plain data.

        Raises:
            WrongResult: it does not fit the annotation.
        """
        return value if self._returns is None else self._returns.object(value)

    def _convert(
        self,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        convert: "Callable[[_Checked, object], object]",
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        beyond = [self._rest] * (len(args) - len(self._positional))
        checks = [*self._positional[: len(args)], *beyond]
        positional = tuple(
            value if check is None else convert(check, value) for check, value in zip(checks, args, strict=True)
        )
        named = {}
        for name, value in kwargs.items():
            check = self._by_name.get(name, self._others)
            named[name] = value if check is None else convert(check, value)
        return positional, named


class _Checked:
    """One annotation: checks values, and makes plain data of them and objects of that."""

    def __init__(self, hint: object, title: str, error: type[AmqtaskError]) -> None:
        from pydantic import PydanticUserError, TypeAdapter  # a heavy import, for those who have typed tasks

        self._title = title
        self._error = error
        try:
            self._adapter = TypeAdapter[Any](hint)  # type: ignore[arg-type]  # whatever the annotation is
        except PydanticUserError as problem:
            raise WrongAnnotation(f"{title}: pydantic cannot check this annotation: {problem.message}") from problem

    def plain(self, value: object) -> object:
        """The value as plain data, checked before and after: a dataclass's members are not when it is made."""
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError, from_json

        try:
            checked = self._adapter.validate_python(value)
            text = self._adapter.dump_json(checked, by_alias=True, round_trip=True, warnings=False)
            self._adapter.validate_json(text)
        except ValidationError as problem:
            raise self._error(f"{self._title}: {_mistakes(problem)}") from None
        except PydanticSerializationError as problem:
            raise self._error(f"{self._title}: {problem}") from None
        plain: object = from_json(text)
        return plain

    def object(self, value: object) -> object:
        """The object of plain data. It is read as JSON is, in which strict models too take text for a time."""
        from pydantic import ValidationError
        from pydantic_core import to_json

        try:
            made: object = self._adapter.validate_json(to_json(value, inf_nan_mode="constants"))
        except ValidationError as problem:
            raise self._error(f"{self._title}: {_mistakes(problem)}") from None
        return made


def _mistakes(problem: "ValidationError") -> str:
    """What is wrong, and where, on one line."""
    found = problem.errors(include_url=False, include_context=False)
    told = []
    for mistake in found[:_MOST_MISTAKES]:
        place = ".".join(str(step) for step in mistake["loc"])
        value = mistake["input"]
        got = f" (got {value!r:.60})" if value is None or isinstance(value, bool | int | float | str) else ""
        told.append(f"{place}: {mistake['msg']}{got}" if place else f"{mistake['msg']}{got}")
    if len(found) > _MOST_MISTAKES:
        told.append(f"and {len(found) - _MOST_MISTAKES} more")
    return "; ".join(told)


def _hints(task: str, function: Callable[..., object], *, lenient: bool) -> dict[str, object]:
    """The annotations, resolved. One that names what cannot be found is left out where `lenient`."""
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    hints: dict[str, object] = {}
    for name, annotation in function.__annotations__.items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(typing.get_type_hints(alone, globalns=scope, include_extras=True))
        except Exception as error:
            # A name that is imported for type checkers only, for one. Evaluating it may raise anything.
            if not lenient:
                raise WrongAnnotation(
                    f"{task}: the annotation {annotation!r} of {name} cannot be resolved: {error}"
                ) from error
    return hints


def _has_record(hint: object) -> bool:
    """Whether there is a model or a dataclass in it."""
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "__pydantic_core_schema__")):
        return True
    # The second are the names of `type Lines = list[Line]`.
    parts = typing.get_args(hint) or ([hint.__value__] if hasattr(hint, "__value__") else [])
    return any(_has_record(part) for part in parts)
