"""Signature: a call of a task as a value that can be passed around, stored and completed later.

Its JSON form is Celery's (`celery/canvas.py`), so that both can run each other's callbacks and chains. A chain, group
or chord is a signature too; its `subtask_type` says which, its kwargs hold its parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from amqtask.core.glimpse import glimpse
from amqtask.errors import MalformedMessage

_BELONGING = frozenset({"group_id", "stamped_headers"})
"""Options that stay as they were set first: a group would never hear of a member that left it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A task's name with arguments and call options; unlike Celery's it never changes, each method returns another.

    An immutable signature takes no further arguments, such as the result of the step before. `chord_size` is set on
    the body of a chord only: how many results it waits for.
    """

    task: str
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    subtask_type: str | None = None
    immutable: bool = False
    chord_size: int | None = None

    def __str__(self) -> str:
        parts = [f"{value!r}" for value in self.args]
        parts += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.task}({', '.join(parts)})"

    def clone(self, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None, **options: object) -> Self:
        """The signature completed: `args` go before its own, `kwargs` and `options` over its own.

        An immutable one takes the options only. Options that tie it to its group and its stamps stay.
        """
        merged = self._with_options(options) if options else self
        if self.immutable or not (args or kwargs):
            return merged
        return replace(merged, args=(*args, *self.args), kwargs={**self.kwargs, **(kwargs or {})})

    def set(self, *, immutable: bool | None = None, **options: object) -> Self:
        """The signature with other call options, whatever they were before."""
        changed = replace(self, options={**self.options, **options})
        return changed if immutable is None else replace(changed, immutable=immutable)

    def link(self, callback: "Signature") -> Self:
        """The signature with one more to call with its result."""
        return self._linked("link", callback)

    def link_error(self, errback: "Signature") -> Self:
        """The signature with one more to call when it fails."""
        return self._linked("link_error", errback)

    def on_error(self, errback: "Signature") -> Self:
        """The same as `link_error`."""
        return self.link_error(errback)

    @property
    def callbacks(self) -> "tuple[Signature, ...]":
        """What is called with its result."""
        return _signatures(self.options.get("link"))

    @property
    def errbacks(self) -> "tuple[Signature, ...]":
        """What is called when it fails."""
        return _signatures(self.options.get("link_error"))

    def to_json(self) -> dict[str, object]:
        """Celery's form: every signature inside of it is one, too, every tuple a list."""
        form: dict[str, object] = {
            "task": self.task,
            "args": _plain(self.args),
            "kwargs": _plain(self.kwargs),
            "options": _plain(self.options),
            "subtask_type": self.subtask_type,
            "immutable": self.immutable,
        }
        if self.chord_size is not None:
            form["chord_size"] = self.chord_size
        return form

    __json__ = to_json

    @classmethod
    def from_json(cls, form: object) -> Self:
        """The signature of Celery's form. Signatures within its arguments and options stay in that form.

        Raises:
            MalformedMessage: says which member is missing or of the wrong type.
        """
        if not isinstance(form, Mapping):
            raise MalformedMessage(f"a signature is {glimpse(form)}, expected an object")
        task, args = form.get("task"), form.get("args")
        if not isinstance(task, str) or not task:
            raise MalformedMessage(f"a signature names the task {glimpse(task)}")
        if not isinstance(args, list | tuple | None):
            raise MalformedMessage(f"args of the signature of {task} hold {glimpse(args)}, expected a list")
        immutable, subtask_type, chord_size = form.get("immutable"), form.get("subtask_type"), form.get("chord_size")
        if not isinstance(immutable, bool | None):
            raise MalformedMessage(f"immutable of the signature of {task} is {glimpse(immutable)}, expected a bool")
        if not isinstance(subtask_type, str | None):
            raise MalformedMessage(
                f"subtask_type of the signature of {task} is {glimpse(subtask_type)}, expected a text"
            )
        if isinstance(chord_size, bool) or not isinstance(chord_size, int | None):
            raise MalformedMessage(f"chord_size of the signature of {task} is {glimpse(chord_size)}, expected an int")
        return cls(
            task=task,
            args=tuple(args or ()),
            kwargs=_members(task, "kwargs", form.get("kwargs")),
            options=_members(task, "options", form.get("options")),
            subtask_type=subtask_type,
            immutable=bool(immutable),
            chord_size=chord_size,
        )

    def _with_options(self, options: Mapping[str, object]) -> Self:
        stamps = self.options.get("stamped_headers")
        kept = _BELONGING.union(stamps) if isinstance(stamps, list | tuple) else _BELONGING
        added = {name: value for name, value in options.items() if name not in kept or name not in self.options}
        return replace(self, options={**self.options, **added})

    def _linked(self, option: str, other: "Signature") -> Self:
        linked = [signature.to_json() for signature in _signatures(self.options.get(option))]
        form = other.to_json()
        return self if form in linked else replace(self, options={**self.options, option: [*linked, form]})


def _members(task: str, name: str, value: object) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedMessage(f"{name} of the signature of {task} hold {glimpse(value)}, expected an object")
    for key in value:
        if not isinstance(key, str):
            raise MalformedMessage(f"{name} of the signature of {task} have the key {glimpse(key)}, expected names")
    return dict(value)


def _signatures(value: object) -> tuple[Signature, ...]:
    """The signatures in an option that may hold one, several, or their JSON forms."""
    if value is None:
        return ()
    items = value if isinstance(value, list | tuple) else (value,)
    return tuple(item if isinstance(item, Signature) else Signature.from_json(item) for item in items)


def _plain(value: object) -> object:
    if isinstance(value, Signature):
        return value.to_json()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value
