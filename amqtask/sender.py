"""Sender:

from a call of a task to a message on its way. Used by the app for calls, and by workers for what follows them.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from amqtask.batch import open_batch
from amqtask.clock import Clock
from amqtask.context import running
from amqtask.core.delay import LONGEST, Relay, entry, relay_recipe, tree, verified
from amqtask.core.finding import nearest
from amqtask.core.message import Envelope, TaskMessage
from amqtask.core.protocol import to_envelope
from amqtask.core.routing import NO_OPTIONS, Router, Routing, SendOptions
from amqtask.core.serialize import Serializers
from amqtask.core.signature import Signature
from amqtask.effective import Effective, effective
from amqtask.errors import BackendFailed, BrokerError, MessageTooLarge, Unroutable
from amqtask.hooks import Middleware, compose
from amqtask.log import get_logger
from amqtask.publisher import Publisher
from amqtask.reports import drop_expired, never_runs
from amqtask.result import AsyncResult
from amqtask.results.access import ResultAccess
from amqtask.task import CallOptions, TaskOptions
from amqtask.ticket import Ticket

if TYPE_CHECKING:
    from amqtask.config.model import Config

TREE = tree()
VERIFIED_TREE = verified(TREE)

_FOLLOWED = {"chain", "chord", "link", "link_error"}
_WAY = ("queue", "exchange", "routing_key", "priority", "confirm", "persistent", "mandatory")

logger = get_logger("sender")


class Sender:
    """Makes messages of calls and publishes them. Thread-safe."""

    def __init__(
        self,
        *,
        config: "Config",
        router: Router,
        publisher: Callable[[], Publisher],
        results: Callable[[], ResultAccess],
        clock: Clock,
        origin: str,
        serializers: Serializers,
        middlewares: Sequence[Middleware] = (),
        on_sent: Callable[[TaskMessage, Routing], None] | None = None,
    ) -> None:
        """`on_sent` hears of each message once the broker has it (at once within a batch), and which way it went."""
        self._config = config
        self._router = router
        self._publisher = publisher
        self._results = results
        self._clock = clock
        self._origin = origin
        self._serializers = serializers
        self._zone = ZoneInfo(config.timezone)
        self._effective: dict[str, tuple[TaskOptions, Effective, SendOptions]] = {}
        self._middlewares = tuple(middlewares)
        self._on_sent = on_sent

    def seconds_until(self, instant: datetime) -> float:
        """Seconds from now; a naive instant is in the app's time zone. Negative if it is over."""
        aware = instant.replace(tzinfo=self._zone) if instant.tzinfo is None else instant
        return aware.timestamp() - self._clock.time()

    def effective(self, options: TaskOptions) -> Effective:
        """What holds for a task."""
        return self._settings(options)[1]

    def warm(self) -> None:
        """Have the place for replies made."""
        self._reply_to()

    def send(
        self, options: TaskOptions, args: Sequence[object], kwargs: Mapping[str, object], call: CallOptions
    ) -> AsyncResult[Any]:
        """Send one call; its result's handle."""
        _, settings, task_way = self._settings(options)
        call_way = _way(call) if call else NO_OPTIONS
        routing = self._router.resolve(
            call.get("route_as", options.name),
            args,
            kwargs,
            task_options=task_way,
            call_options=call_way,
            headers=call.get("headers"),
        )
        message = self.message(options, settings, args, kwargs, call)
        timeout = call.get("timeout", self._config.publish.timeout)
        access = self._results()
        if not message.ignore_result:
            access.backend.expect(message.id)

        def publish(final: TaskMessage) -> None:
            if never_runs(final, self._clock.time()):
                drop_expired(final, access.backend, self._clock.time())
                return
            ticket = self.ticket(final, routing, settings, call, timeout)
            batch = open_batch()
            if batch is None:
                self._publisher().publish(ticket)
            else:
                batch.add(ticket, timeout)
                self._publisher().send(ticket)
            if self._on_sent is not None:
                self._on_sent(final, routing)

        if self._middlewares:
            compose([m.around_publish for m in self._middlewares], publish)(message)
        else:
            publish(message)
        context = running()
        if context is not None:
            context.children.append(message.id)
        return AsyncResult(message.id, access, name=options.name, ignored=message.ignore_result)

    def prepare(
        self,
        options: TaskOptions,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        call: CallOptions,
        *,
        timeout: float,
    ) -> Ticket:
        """A ticket for one call, not sent: for what follows a task in the worker."""
        _, settings, task_way = self._settings(options)
        routing = self._router.resolve(
            call.get("route_as", options.name),
            args,
            kwargs,
            task_options=task_way,
            call_options=_way(call) if call else NO_OPTIONS,
            headers=call.get("headers"),
        )
        return self.ticket(self.message(options, settings, args, kwargs, call), routing, settings, call, timeout)

    def post(
        self,
        options: TaskOptions,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        call: CallOptions,
        *,
        timeout: float,
        send: Callable[[Ticket], None],
    ) -> None:
        """One call through the middlewares to a `send` of the caller's: for those who publish by themselves.

        Raises:
            As `prepare`, and whatever a middleware raises.
        """
        _, settings, task_way = self._settings(options)
        call_way = _way(call) if call else NO_OPTIONS
        routing = self._router.resolve(
            call.get("route_as", options.name),
            args,
            kwargs,
            task_options=task_way,
            call_options=call_way,
            headers=call.get("headers"),
        )

        def publish(final: TaskMessage) -> None:
            send(self.ticket(final, routing, settings, call, timeout))
            if self._on_sent is not None:
                self._on_sent(final, routing)

        compose([m.around_publish for m in self._middlewares], publish)(
            self.message(options, settings, args, kwargs, call)
        )

    def message(
        self,
        options: TaskOptions,
        settings: Effective,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        call: CallOptions,
    ) -> TaskMessage:
        """The call as a message; inside a task it belongs to that task's family."""
        task_id = call.get("task_id") or str(uuid.uuid4())
        context = running()
        root, parent = (None, None) if context is None else (context.root_id, context.id)
        eta = self._eta(call)
        ignore = call.get("ignore_result", settings.ignore_result)
        shadow = call.get("shadow")
        if shadow is None and options.shadow_name is not None:
            shadow = options.shadow_name(args, kwargs, dict(call))
        return TaskMessage(
            id=task_id,
            task=options.name,
            args=tuple(args),
            kwargs=kwargs,
            root_id=call.get("root_id", root) or task_id,
            parent_id=call.get("parent_id", parent),
            group_id=call.get("group_id"),
            group_index=call.get("group_index"),
            retries=call.get("retries", 0),
            eta=eta,
            expires=self.expires(call.get("expires", options.expires)),
            time_limit=call.get("time_limit"),
            soft_time_limit=call.get("soft_time_limit"),
            ignore_result=ignore,
            reply_to=call["reply_to"] or None if "reply_to" in call else self._answer_to(ignore, call),
            shadow=shadow,
            replaced_task_nesting=call.get("replaced_task_nesting", 0),
            origin=self._origin,
            stamps=call.get("stamps", {}),
            callbacks=signatures(call.get("link")),
            errbacks=signatures(call.get("link_error")),
            chain=tuple(call.get("chain", ())),
            chord=call.get("chord"),
            headers=call.get("headers", {}),
        )

    def ticket(
        self, message: TaskMessage, routing: Routing, settings: Effective, call: CallOptions, timeout: float
    ) -> Ticket:
        """The message encoded and on its route, by way of the delay tree if its time is a second or more away.

        Raises:
            Unserializable, MessageTooLarge, Unroutable.
        """
        now = self._clock.time()
        envelope = to_envelope(
            message,
            serializer=call.get("serializer", settings.serializer),
            compression=call.get("compression", settings.compression),
            priority=routing.priority,
            persistent=settings.persistent if routing.persistent is None else routing.persistent,
            now=now,
            serializers=self._serializers,
        )
        return self.route(
            envelope,
            routing.exchange,
            routing.routing_key,
            eta=message.eta,
            timeout=timeout,
            mandatory=settings.mandatory if routing.mandatory is None else routing.mandatory,
            confirm=settings.confirm if routing.confirm is None else routing.confirm,
            reached=routing.queues,
            what=message.task,
        )

    def route(
        self,
        envelope: Envelope,
        exchange: str,
        routing_key: str,
        *,
        eta: datetime | None = None,
        timeout: float | None = None,
        mandatory: bool = True,
        confirm: bool = True,
        reached: Sequence[str] | None = None,
        what: str = "",
    ) -> Ticket:
        """A ticket for an envelope; `reached` are the queues that it gets to by the configuration, where that is known.

        Raises:
            MessageTooLarge: the body is over `publish.max_message_size`.
            Unroutable: a delayed message that would reach no queue when its time has come.
        """
        limit = self._config.publish.max_message_size
        if len(envelope.body) > limit:
            raise MessageTooLarge(
                f"the message of {what} has a body of {len(envelope.body)} bytes; publish.max_message_size is {limit}"
            )
        seconds = timeout if timeout is not None else self._config.publish.timeout
        deadline = self._clock.monotonic() + seconds
        wait = 0 if eta is None else int(eta.timestamp() - self._clock.time())
        if wait < 1:
            return Ticket(envelope, exchange, routing_key, deadline=deadline, mandatory=mandatory, confirm=confirm)
        if reached is not None and not reached and mandatory:
            raise Unroutable(
                f"no queue of the configuration takes a message for exchange {exchange!r} with routing key"
                f" {routing_key!r}; delayed, it would be lost when its time has come"
            )
        relay = Relay(exchange, routing_key)
        entrance, key = entry(min(wait, LONGEST), relay)
        # A time to live of its own would let the message leave its level too early.
        waiting = replace(envelope, expiration=None)
        recipe = relay_recipe(relay)
        # Where nothing is to be declared it is looked for all the same: without its relay the message would go astray
        # when its time has come, and its sender would not hear of it.
        declares = self._config.broker.declare == "always"
        needs = (TREE, recipe) if declares else (VERIFIED_TREE, verified(recipe))
        return Ticket(waiting, entrance, key, deadline=deadline, needs=needs)

    def _settings(self, options: TaskOptions) -> tuple[TaskOptions, Effective, SendOptions]:
        known = self._effective.get(options.name)
        if known is None or known[0] is not options:
            known = (options, effective(options, self._config), _task_way(options))
            self._effective[options.name] = known
        return known

    def _answer_to(self, ignore: bool, call: CallOptions) -> str | None:
        # What follows a task that ignores its result may well have one.
        return None if ignore and not _FOLLOWED & call.keys() else self._reply_to()

    def _reply_to(self) -> str | None:
        try:
            return self._results().backend.reply_to()
        except BackendFailed as error:
            # To the caller it is the broker that cannot be reached, not a store.
            if isinstance(error.__cause__, BrokerError):
                raise error.__cause__ from None
            raise

    def _eta(self, call: CallOptions) -> datetime | None:
        countdown = call.get("countdown")
        if countdown is not None:
            return datetime.fromtimestamp(self._clock.time() + countdown, UTC)
        eta = call.get("eta")
        return eta.replace(tzinfo=self._zone) if eta is not None and eta.tzinfo is None else eta

    def expires(self, expires: float | timedelta | datetime | None) -> datetime | None:
        """The instant of an option `expires`; a naive one is in the app's time zone."""
        if expires is None:
            return None
        if isinstance(expires, datetime):
            return expires.replace(tzinfo=self._zone) if expires.tzinfo is None else expires
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else float(expires)
        return datetime.fromtimestamp(self._clock.time() + seconds, UTC)


def _way(call: CallOptions) -> SendOptions:
    if unknown := sorted(call.keys() - CallOptions.__optional_keys__):
        raise TypeError(
            f"a call has no option {unknown[0]!r} ({nearest(unknown[0], sorted(CallOptions.__optional_keys__))})"
        )
    given = {name: call[name] for name in _WAY if name in call}  # type: ignore[literal-required]
    return SendOptions(**given) if given else NO_OPTIONS


def _task_way(options: TaskOptions) -> SendOptions:
    return SendOptions(
        queue=options.queue, exchange=options.exchange, routing_key=options.routing_key, priority=options.priority
    )


def signatures(given: Signature | Sequence[Signature] | None) -> tuple[Mapping[str, object], ...]:
    """The signatures of an option `link` or `link_error`, as a message has them."""
    if given is None:
        return ()
    return tuple(one.to_json() for one in ((given,) if isinstance(given, Signature) else given))
