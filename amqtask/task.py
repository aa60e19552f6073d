"""Task: a function that can be sent, with its options."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, NoReturn, ParamSpec, Protocol, TypeAlias, TypedDict, TypeVar, Unpack

from amqtask.awaiting import awaiting
from amqtask.canvas import BoundSignature, CanvasSender, bind
from amqtask.context import Context, running
from amqtask.core.canvas import chunks_of, map_of
from amqtask.core.message import HeaderValue
from amqtask.core.outcome import RetryWanted
from amqtask.core.retry import RetryPolicy
from amqtask.core.settlement import Policy
from amqtask.core.signature import Signature
from amqtask.core.state import PROGRESS, Progress, is_final, progress_to_json
from amqtask.errors import Ignore, MaxRetriesExceeded, Retry, TaskError, WrongArguments
from amqtask.result import AsyncResult, GroupResult
from amqtask.typed import Typed, typed_of

P = ParamSpec("P")
R = TypeVar("R")


Eta: TypeAlias = datetime | float | int


class RetryOptions(TypedDict, total=False):
    """Options of one call without its time, which `Task.retry` takes as arguments of its own."""

    task_id: str
    queue: str
    exchange: str
    routing_key: str
    priority: int
    expires: float | timedelta | datetime
    headers: Mapping[str, HeaderValue]
    serializer: str
    compression: str
    time_limit: float
    soft_time_limit: float
    ignore_result: bool
    shadow: str
    link: Signature | Sequence[Signature]
    link_error: Signature | Sequence[Signature]
    root_id: str
    parent_id: str
    group_id: str
    group_index: int
    replaced_task_nesting: int
    retries: int
    chain: Sequence[Mapping[str, object]]
    chord: Mapping[str, object]
    reply_to: str
    stamps: Mapping[str, HeaderValue]
    confirm: bool
    persistent: bool
    mandatory: bool
    timeout: float
    route_as: str


class CallOptions(RetryOptions, total=False):
    """Options of one call; each beats the routes, which beat the task's own options.

    `countdown`, limits and `timeout` are seconds; `expires` seconds or an instant; `timeout` bounds the publish.
    `route_as` is the name of another task, by which the routes are asked.
    """

    countdown: float
    eta: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What the decorator says of a task. None leaves the setting of the configuration (section `tasks`)."""

    name: str
    bind: bool = False
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    serializer: str | None = None
    compression: str | None = None
    expires: float | timedelta | None = None
    acks_late: bool | None = None
    ignore_result: bool | None = None
    track_started: bool | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    rate_limit: str | None = None
    rate_limit_scope: Literal["node", "cluster"] | None = None
    max_retries: int | Literal["config"] | None = "config"
    """None retries for ever."""
    default_retry_delay: float | None = None
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    """Expected errors: logged in one line, without a traceback."""
    dead_letter: bool = False
    """A failure sends the message to the queue's dead letters, with the error in its headers."""
    on_worker_lost: Literal["requeue", "fail"] = "requeue"
    on_effect_failure: Policy = Policy.REQUEUE
    confirm: bool | None = None
    persistent: bool | None = None
    mandatory: bool | None = None
    shadow_name: Callable[..., str | None] | None = None
    typing: bool = True
    """Check the arguments against the signature when the task is sent."""
    pydantic: bool | None = None
    """Check values by the annotations: those with a model or a dataclass in them (None), all (True) or none (False)."""
    schedule: object = None
    doc: str = field(default="", compare=False)

    @classmethod
    def names(cls) -> frozenset[str]:
        """The options that a decorator takes."""
        return frozenset(f.name for f in fields(cls)) - {"doc"}


class Sender(CanvasSender, Protocol):
    """Who sends a task's calls: the app."""

    def send(
        self, options: TaskOptions, args: Sequence[object], kwargs: Mapping[str, object], call: CallOptions
    ) -> AsyncResult[Any]:
        """Send one call."""
        ...

    def retry_policy(self, options: TaskOptions) -> RetryPolicy:
        """The task's retry options, with the configuration's where it has none."""
        ...

    def seconds_until(self, instant: datetime) -> float:
        """Seconds from now; a naive instant is in the app's time zone."""
        ...

    def report(self, context: Context, state: str, meta: object) -> None:
        """Keep a state of a running execution, on the way to its end."""
        ...


HOOKS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")


class Task(Generic[P, R]):
    """A function that can be called here, or sent to a worker. Made by `@app.task`; may be subclassed (`base=`)."""

    def __init__(self, run: Callable[..., R], options: TaskOptions, sender: Sender) -> None:
        functools.update_wrapper(self, run)
        self.run = run
        self.options = options
        self.name = options.name
        self.is_async = asyncio.iscoroutinefunction(run)
        self._sender = sender
        self._signature = inspect.signature(run)
        self._check = options.typing
        self.has_hooks = any(getattr(type(self), hook) is not getattr(Task, hook) for hook in HOOKS)
        """Its class overrides something that is called around an execution."""

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @functools.cached_property
    def typed(self) -> Typed | None:
        """What the function's annotations say of its values, where they are checked.

        Found out when it is needed: an annotation may name what is defined further down.
        """
        return typed_of(self.name, self.run, bind=self.options.bind, pydantic=self.options.pydantic)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        if self.options.bind:
            return self.run(self, *args, **kwargs)
        return self.run(*args, **kwargs)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send a call of the task; returns when the broker has it.

        Raises:
            WrongArguments: the arguments do not fit the function's signature, or a model of it.
            Unserializable: an argument cannot be serialised; the message names it.
            Unroutable, PublishNacked, PublishTimeout, ConnectionFailed: see `amqtask.publisher.Publisher.publish`.
        """
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """Send a call of the task with options of its own; errors as for `delay`."""
        args = () if args is None else args
        kwargs = {} if kwargs is None else kwargs
        if self._check:
            self.check_arguments(args, kwargs)
        if self.typed is not None:
            args, kwargs = self.typed.plain(args, kwargs)
        return self._sender.send(self.options, args, kwargs, call)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """As `delay`, without holding up the event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncResult[R]:
        """As `apply_async`, without holding up the event loop."""
        return await awaiting(self._sender, lambda: self.apply_async(args, kwargs, **call))

    def check_arguments(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Raise WrongArguments if the function cannot be called so."""
        try:
            if self.options.bind:
                self._signature.bind(self, *args, **kwargs)
            else:
                self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise WrongArguments(f"{self.name}{self._signature}: {error}") from None

    def s(self, *args: object, **kwargs: object) -> BoundSignature[AsyncResult[R]]:
        """A signature: this call as a value, which a chain completes with the result before it."""
        return BoundSignature(task=self.name, args=tuple(args), kwargs=dict(kwargs), sender=self._sender)

    def si(self, *args: object, **kwargs: object) -> BoundSignature[AsyncResult[R]]:
        """An immutable signature: results before it are not handed to it."""
        return self.s(*args, **kwargs).set(immutable=True)

    def map(self, items: Iterable[object]) -> BoundSignature[AsyncResult[list[R]]]:
        """One message that calls the task for each item, one after another."""
        return bind(map_of(self.s(), items), self._sender)

    def starmap(self, items: Iterable[Sequence[object]]) -> BoundSignature[AsyncResult[list[R]]]:
        """One message that calls the task with the values of each item."""
        return bind(map_of(self.s(), items, star=True), self._sender)

    def chunks(self, items: Iterable[Sequence[object]], size: int) -> BoundSignature[GroupResult]:
        """A group of starmaps of so many items each; the last may have fewer."""
        return bind(chunks_of(self.s(), items, size), self._sender)

    @property
    def request(self) -> Context:
        """The Context of this task's running execution; an empty one when it was called directly."""
        context = running()
        if context is not None and context.current is self:
            return context
        return Context(task=self.name)

    def retry(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        exc: BaseException | None = None,
        throw: bool = True,
        countdown: float | None = None,
        eta: datetime | None = None,
        max_retries: int | None = None,
        **call: Unpack[RetryOptions],
    ) -> Retry:
        """End this execution and have the task run again later: `raise self.retry(...)`.

        The next attempt is published and confirmed before this message is acknowledged. With `throw=False` the task
        goes on to its own end and is retried nevertheless.

        Raises:
            Retry: what ends the execution.
            MaxRetriesExceeded: there were as many retries as allowed, and no `exc` was given; otherwise `exc` itself.
        """
        request = self.request
        policy = self._sender.retry_policy(self.options)
        allowed = max_retries if max_retries is not None else policy.max_retries
        if request.called_directly:
            raise exc or TaskError(f"{self.name} asked for a retry, but it was called directly, not by a worker")
        if allowed is not None and request.retries >= allowed:
            raise exc or MaxRetriesExceeded(f"{self.name}[{request.id}] was retried {request.retries} times")
        if eta is not None:
            countdown = self._sender.seconds_until(eta)
        wanted = RetryWanted(
            error=exc,
            countdown=policy.default_delay if countdown is None else max(0.0, countdown),
            retries=request.retries + 1,
            args=None if args is None else tuple(args),
            kwargs=None if kwargs is None else dict(kwargs),
            options=dict(call),
        )
        signal = Retry(f"retry in {wanted.countdown:g} s", exc=exc, countdown=wanted.countdown)
        request.retry_wanted = wanted
        if throw:
            raise signal
        return signal

    def replace(self, canvas: Signature) -> NoReturn:
        """End this execution and have a canvas run in its place: under its id, with what was to follow it.

        Raises:
            Ignore: what ends the execution.
            TaskError: it was called directly.
        """
        request = self.request
        if request.called_directly:
            raise TaskError(f"{self.name} was called directly, not by a worker; nothing can take its place")
        self._sender.launcher.replace(canvas, request)
        raise Ignore("replaced")

    def add_to_chord(self, canvas: Signature) -> Any:
        """Send a canvas as one more member of the chord that this execution is a member of; the handle on its result.

        Raises:
            TaskError: it is in no chord.
        """
        return self._sender.launcher.add_to_chord(canvas, self.request)

    def update_state(self, state: str, meta: object = None) -> None:
        """Tell those who look at this execution's result that it is in this state: PROGRESS, or a name of your own.

        `meta` is what the state carries, and must have a form in the results' serializer. It is sent on the side: the
        task does not wait. An execution that was called directly, or ignores its result, tells nobody.

        Raises:
            ValueError: the state is one that ends a task; return or raise for that.
            Unserializable: `meta` has no form.
        """
        if is_final(state):
            raise ValueError(f"{state} ends a task; it is reported when the task has returned or raised")
        request = self.request
        if not request.called_directly and not request.ignore_result:
            self._sender.report(request, state, meta)

    def progress(self, current: float, total: float | None = None, message: str = "") -> None:
        """Tell those who look at this execution's result how far it is; `AsyncResult.progress` iterates over it."""
        self.update_state(PROGRESS, progress_to_json(Progress(current=current, total=total, message=message)))

    # What a subclass may do around an execution. Called in the worker, in the task's slot, before the outcome is stored
    # and the message settled; of a coroutine function on its event loop. What `before_start` raises is the task's
    # outcome; what the others raise is logged. None is called when the process dies, or for a hard time limit.

    def before_start(self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Before the function is called."""

    def on_success(self, retval: R, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """After it returned."""

    def on_retry(
        self, exc: BaseException | None, task_id: str, args: Sequence[object], kwargs: Mapping[str, object], einfo: str
    ) -> None:
        """When it is going to be retried; `einfo` is the text of the traceback."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: Sequence[object], kwargs: Mapping[str, object], einfo: str
    ) -> None:
        """After it failed for good; `einfo` is the text of the traceback."""

    def after_return(
        self,
        status: str,
        retval: object,
        task_id: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        einfo: str,
    ) -> None:
        """After `on_success` and `on_failure`; `retval` is the value or the exception."""


AnyTask: TypeAlias = Task[..., Any]
