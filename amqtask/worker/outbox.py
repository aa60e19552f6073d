"""Outbox: the messages that a worker sends for the tasks that it ran: next attempts, what follows, dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from amqtask.app import App
from amqtask.clock import Clock
from amqtask.core.body import TaskBody
from amqtask.core.canvas import freeze
from amqtask.core.crashes import total
from amqtask.core.deadletter import dead_envelope
from amqtask.core.headers import CRASHED_ON
from amqtask.core.message import PERSISTENT, Delivery, Envelope, HeaderValue, TaskMessage
from amqtask.core.outcome import RetryWanted
from amqtask.core.plan import Family, followed_by
from amqtask.core.protocol import republish_envelope, to_envelope, to_message
from amqtask.core.request import Request
from amqtask.core.rest import rest_queue
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.core.settlement import Death, Republish
from amqtask.core.signature import Signature
from amqtask.core.state import ResultRef
from amqtask.core.topology import DEFAULT_EXCHANGE, Topology
from amqtask.core.workflow import ERRBACK, MARK
from amqtask.launch import ids
from amqtask.publisher import Publisher
from amqtask.sender import Sender, signatures
from amqtask.task import CallOptions
from amqtask.ticket import Ticket
from amqtask.worker.execution import Execution
from amqtask.worker.starter import EFFECT_TIMEOUT, Starter
from amqtask.worker.steps import mark_of


def outbox_of(app: App, node: str, starter: Starter) -> "Outbox":
    """The outbox of an app's worker."""
    return Outbox(
        node=node,
        clock=app.clock,
        sender=app.parts.sender,
        publisher=app.publisher,
        topology=app.topology,
        starter=starter,
    )


class Outbox:
    """Makes tickets; `amqtask.worker.finish` sends them. Safe from any thread."""

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        sender: Sender,
        publisher: Publisher,
        topology: Topology,
        starter: Starter,
        serializers: Serializers = DEFAULT_SERIALIZERS,
    ) -> None:
        self._node = node
        self._clock = clock
        self._sender = sender
        self._publisher = publisher
        self._topology = topology
        self._starter = starter
        self._serializers = serializers

    def send(self, ticket: Ticket) -> None:
        """Send, not waiting."""
        self._publisher.send(ticket)

    def again(self, request: Request, body: TaskBody | None, queue: str, effect: Republish) -> Ticket:
        """The message once more, to the queue that it came from: its first route may lead to other queues as well."""
        retry = effect.retry
        if effect.tally is not None:
            table: dict[str, HeaderValue] = dict(effect.tally)
            envelope = republish_envelope(
                request,
                eta=request.eta,
                now=self._clock.time(),
                crashes=total(effect.tally),
                extra_headers={CRASHED_ON: table},
            )
            return self._sender.route(envelope, DEFAULT_EXCHANGE, queue, timeout=EFFECT_TIMEOUT, what=request.task)
        if retry is None:
            envelope = republish_envelope(request, eta=effect.eta, now=self._clock.time())
            return self._sender.route(
                envelope, DEFAULT_EXCHANGE, queue, eta=effect.eta, timeout=EFFECT_TIMEOUT, what=request.task
            )
        now = self._clock.time()
        eta = datetime.fromtimestamp(now + retry.countdown, UTC) if retry.countdown > 0 else None
        options = cast(CallOptions, retry.options)
        changed = retry.args is not None or retry.kwargs is not None or bool(retry.options)
        if not changed or body is None:
            envelope = republish_envelope(request, eta=eta, now=now, retries=retry.retries)
            return self._sender.route(
                envelope, DEFAULT_EXCHANGE, queue, eta=eta, timeout=EFFECT_TIMEOUT, what=request.task
            )
        return self._changed(request, body, queue, retry, eta, options)

    def follow(self, execution: Execution, value: object) -> Sequence[Ticket]:
        """The callbacks with the result, and the next step of the chain, if the message has it."""
        body = execution.body
        assert body is not None, "it was executed"
        request = execution.request
        tickets = []
        for number, callback in enumerate(body.callbacks):
            tickets += self._start(execution, Signature.from_json(callback), value, f"{request.id}/link/{number}")
        if body.chain and rest_queue(body.chain[-1]) is None:
            step = followed_by(Signature.from_json(body.chain[-1]), body.chain[:-1])
            tickets += self._start(execution, step, value, f"{request.id}/next")
        return tickets

    def followers(self, execution: Execution) -> Sequence[ResultRef]:
        """Where the results of what `follow` sends will be asked for: it makes the same ids."""
        body = execution.body
        if body is None:
            return ()
        refs = [
            freeze(Signature.from_json(callback), ids(f"{execution.id}/link/{number}")).ref
            for number, callback in enumerate(body.callbacks)
        ]
        if body.chain and rest_queue(body.chain[-1]) is None:
            refs.append(freeze(Signature.from_json(body.chain[-1]), ids(f"{execution.id}/next")).ref)
        return refs

    def errbacks(self, execution: Execution, error: BaseException, traceback: str) -> Sequence[Ticket]:
        """The errbacks, each called with the id of the task that failed, as Celery calls those of other processes."""
        body = execution.body
        if body is None:
            return ()
        tickets: list[Ticket] = []
        for number, errback in enumerate(body.errbacks):
            seed = f"{execution.id}/errback/{number}"
            mark: dict[str, HeaderValue] = {MARK: ERRBACK}
            tickets += self._start(execution, Signature.from_json(errback), execution.id, seed, mark)
        return tickets

    def dead_letter(self, delivery: Delivery, queue: str, death: Death) -> Ticket | None:
        """A copy for where the queue's dead letters go; None where the configuration does not say."""
        known = self._topology.queues.get(queue)
        place = known.dead_letter if known is not None else None
        if place is None:
            return None
        now = self._clock.time()
        envelope = dead_envelope(delivery, death, queue=queue, node=self._node, now=datetime.fromtimestamp(now, UTC))
        key = delivery.routing_key if place.routing_key is None else place.routing_key
        deadline = self._clock.monotonic() + EFFECT_TIMEOUT
        return Ticket(envelope, place.exchange, key, deadline=deadline)

    def _changed(
        self,
        request: Request,
        body: TaskBody,
        queue: str,
        retry: RetryWanted,
        eta: datetime | None,
        options: CallOptions,
    ) -> Ticket:
        original = request.delivery.envelope
        message = self._next_attempt(request, body, retry, eta, options)
        envelope = to_envelope(
            message,
            serializer=options.get("serializer") or self._serializer_of(original),
            compression=options.get("compression", request.compression),
            priority=options.get("priority", request.priority),
            persistent=options.get("persistent", original.delivery_mode == PERSISTENT),
            now=self._clock.time(),
            serializers=self._serializers,
        )
        exchange, key = DEFAULT_EXCHANGE, options.get("queue", queue)
        if "exchange" in options or "routing_key" in options:
            exchange = options.get("exchange", request.delivery.exchange)
            key = options.get("routing_key", request.delivery.routing_key)
        return self._sender.route(envelope, exchange, key, eta=eta, timeout=EFFECT_TIMEOUT, what=request.task)

    def _serializer_of(self, envelope: Envelope) -> str:
        """The name of the serializer that encoded a message; it was accepted when the task ran."""
        content_type = envelope.content_type or ""
        return self._serializers.accepted(content_type, envelope.content_encoding, (content_type,)).name

    def _next_attempt(
        self, request: Request, body: TaskBody, retry: RetryWanted, eta: datetime | None, options: CallOptions
    ) -> TaskMessage:
        message = to_message(request, body)
        changes: dict[str, Any] = {
            name: options[name]
            for name in ("time_limit", "soft_time_limit", "ignore_result", "shadow", "stamps")
            if name in options
        }
        if "expires" in options:
            changes["expires"] = self._sender.expires(options["expires"])
        if "headers" in options:
            changes["headers"] = {**message.headers, **options["headers"]}
        if "link" in options:
            changes["callbacks"] = signatures(options["link"])
        if "link_error" in options:
            changes["errbacks"] = signatures(options["link_error"])
        if retry.args is not None:
            changes["args"] = retry.args
        if retry.kwargs is not None:
            changes["kwargs"] = retry.kwargs
        return replace(message, retries=retry.retries, eta=eta, **changes)

    def _start(
        self,
        execution: Execution,
        canvas: Signature,
        value: object,
        seed: str,
        mark: Mapping[str, HeaderValue] | None = None,
    ) -> list[Ticket]:
        request = execution.request
        return self._starter.tickets(
            canvas,
            (value,),
            family=Family(root_id=request.root_id, parent_id=request.id),
            reply_to=request.reply_to,
            seed=seed,
            headers=mark_of(request) if mark is None else mark,
        )
