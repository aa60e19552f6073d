"""What users compose calls with: signatures that know who sends them, chains, groups and chords."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, Unpack, cast, overload

from amqtask.awaiting import awaiting
from amqtask.core.canvas import chain_of, chord_of, group_of, joined, parts
from amqtask.core.signature import Signature
from amqtask.core.stamping import StampingVisitor, stamped
from amqtask.result import AsyncResult, GroupResult

if TYPE_CHECKING:
    from amqtask.context import Context
    from amqtask.task import CallOptions

H = TypeVar("H", bound="AsyncResult[Any] | GroupResult")
H2 = TypeVar("H2", bound="AsyncResult[Any] | GroupResult")


class Launcher(Protocol):
    """Sends what comes first of a canvas."""

    def launch(
        self, canvas: Signature, args: Sequence[object], kwargs: Mapping[str, object], call: "CallOptions"
    ) -> Any:
        """Send it; the handle on its result."""
        ...

    def warm(self) -> None:
        """Make what sending needs; waits for the broker where replies are asked for."""
        ...

    def replace(self, canvas: Signature, context: "Context") -> None:
        """Send it in the place of a running execution."""
        ...

    def add_to_chord(self, canvas: Signature, context: "Context") -> Any:
        """Send it as one more member of a running execution's chord; the handle on its result."""
        ...


class CanvasSender(Protocol):
    """Who sends signatures: the app."""

    @property
    def launcher(self) -> Launcher:
        """What sends them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSignature(Signature, Generic[H]):
    """A signature that can be sent. `H` is what sending it gives: an AsyncResult, or a GroupResult of a group."""

    sender: CanvasSender | None = field(default=None, compare=False, repr=False)

    def delay(self, *args: object, **kwargs: object) -> H:
        """Send it, with more arguments before its own.

        Raises:
            As `Task.delay`.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **call: "Unpack[CallOptions]",
    ) -> H:
        """Send it with options of this call; errors as for `Task.delay`."""
        if self.sender is None:
            raise TypeError(f"{self.task} knows no app to send it; make it by app.signature(…) or a task's s(…)")
        return cast("H", self.sender.launcher.launch(self, args or (), kwargs or {}, call))

    async def adelay(self, *args: object, **kwargs: object) -> H:
        """As `delay`, without holding up the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **call: "Unpack[CallOptions]",
    ) -> H:
        """As `apply_async`, without holding up the event loop."""
        if self.sender is None:
            return self.apply_async(args, kwargs, **call)
        return await awaiting(self.sender, lambda: self.apply_async(args, kwargs, **call))

    def stamp(
        self, visitor: StampingVisitor | None = None, *, append_stamps: bool = False, **stamps: object
    ) -> "BoundSignature[H]":
        """The signature with stamps on each of its tasks: these, and those that the visitor chooses.

        A stamp is a header that workers, `self.request.stamps` and `revoke_by_stamped_headers` know. Of two of one name
        the later counts; with `append_stamps` both do.
        """
        return bind(stamped(self, visitor, stamps, append=append_stamps), self.sender)

    def __or__(self, other: "BoundSignature[H2]") -> "BoundSignature[H2]":
        """First this, then `other` with the result; after a group `other` gets the list of its results."""
        if not isinstance(other, Signature):
            return NotImplemented
        return _bind(joined(self, other), (self, other))


AnySignature: TypeAlias = BoundSignature[Any]


@overload
def chain(*steps: BoundSignature[H]) -> BoundSignature[H]: ...


@overload
def chain(*steps: AnySignature) -> AnySignature: ...


@overload
def chain(steps: Iterable[BoundSignature[H]], /) -> BoundSignature[H]: ...


def chain(*steps: Any) -> Any:
    """One after another, each called with the result of the one before; its result is that of the last.

    Raises:
        ValueError: there is no step.
    """
    given = _several(steps)
    return _bind(chain_of(given), given)


def group(*members: AnySignature | Iterable[AnySignature]) -> BoundSignature[GroupResult]:
    """All at once, in no order; its result is that of all, in the order given here."""
    given = _several(members)
    return _bind(group_of(given), given)


class HalfChord:
    """A chord's header, which is sent as it is called with the body: `chord(header)(body)`."""

    def __init__(self, header: Sequence[Signature]) -> None:
        self._header = header

    def __call__(self, body: BoundSignature[H]) -> H:
        """Send the chord."""
        return chord(self._header, body).delay()


@overload
def chord(header: Iterable[Signature]) -> HalfChord: ...


@overload
def chord(
    header: "Iterable[Signature] | BoundSignature[GroupResult]", body: BoundSignature[H]
) -> BoundSignature[H]: ...


def chord(header: Any, body: Any = None) -> Any:
    """All of `header` at once, then `body` once with the list of the results."""
    members = parts(header) if isinstance(header, Signature) else list(header)
    if body is None:
        return HalfChord(members)
    return _bind(chord_of(members, body), (*members, body))


def signature(
    task: "str | Mapping[str, object] | Signature",
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    immutable: bool = False,
    app: CanvasSender | None = None,
    **options: object,
) -> AnySignature:
    """A signature of a task by its name, or one of its JSON form; `app` is who sends it.

    Raises:
        MalformedMessage: the form is none.
    """
    if isinstance(task, str):
        return BoundSignature(
            task=task, args=tuple(args), kwargs=kwargs or {}, options=options, immutable=immutable, sender=app
        )
    made = task if isinstance(task, Signature) else Signature.from_json(task)
    complete = bind(made.clone(tuple(args), kwargs, **options), app or _sender_of([made]))
    return complete.set(immutable=True) if immutable else complete


def bind(given: Signature, sender: CanvasSender | None) -> AnySignature:
    """The signature as one that `sender` sends."""
    return BoundSignature(
        task=given.task,
        args=given.args,
        kwargs=given.kwargs,
        options=given.options,
        subtask_type=given.subtask_type,
        immutable=given.immutable,
        chord_size=given.chord_size,
        sender=sender,
    )


def _bind(canvas: Signature, of: Iterable[Signature]) -> AnySignature:
    return bind(canvas, _sender_of(of))


def _sender_of(signatures: Iterable[Signature]) -> CanvasSender | None:
    bound = (one.sender for one in signatures if isinstance(one, BoundSignature))
    return next((sender for sender in bound if sender is not None), None)


def _several(given: Sequence[Any]) -> list[Signature]:
    if len(given) == 1 and not isinstance(given[0], Signature):
        return list(given[0])
    return list(given)
