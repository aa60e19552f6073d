"""Starter: the messages that a worker sends for a canvas that follows one of its tasks."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from amqtask.clock import Clock
from amqtask.core.canvas import freeze
from amqtask.core.message import HeaderValue
from amqtask.core.plan import Call, Family, plan
from amqtask.core.rest import parked
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.core.signature import Signature
from amqtask.launch import call_options, ids, opening
from amqtask.sender import Sender
from amqtask.task import TaskOptions
from amqtask.ticket import Ticket

EFFECT_TIMEOUT = 30.0
"""Seconds that an effect's message may take to be confirmed before it counts as failed and is tried again."""


class Starter:
    """Makes tickets. Safe from any thread."""

    def __init__(
        self,
        *,
        sender: Sender,
        options: Callable[[str], TaskOptions],
        clock: Clock,
        inline: int | None,
        serializers: Serializers = DEFAULT_SERIALIZERS,
    ) -> None:
        self._sender = sender
        self._options = options
        self._clock = clock
        self._inline = inline
        self._serializers = serializers

    def tickets(
        self,
        canvas: Signature,
        args: Sequence[object],
        *,
        family: Family,
        reply_to: str | None,
        seed: str,
        headers: Mapping[str, HeaderValue] = MappingProxyType({}),
    ) -> list[Ticket]:
        """What comes first of a canvas that is called with `args`.

        What has no id gets one of `seed`, so that who runs again sends the same ids again. `headers` go with each
        message; with `amqtask.core.tick.COPY` among them only one of several copies runs (`amqtask.worker.ticks`).

        Raises:
            MessageError, ValueError: the canvas makes no sense.
            As `amqtask.sender.Sender.prepare`.
        """
        frozen = freeze(canvas, ids(seed))
        deadline = self._clock.monotonic() + EFFECT_TIMEOUT
        return [
            self._ticket(step.signature, reply_to, headers)
            if isinstance(step, Call)
            else opening(step, self._serializers, deadline)
            for step in parked(plan(frozen.signature, args, family), self._inline)
        ]

    def ignores_result(self, call: Signature) -> bool:
        """Whether nothing is to be kept of a call."""
        given = call.options.get("ignore_result")
        return self._sender.effective(self._options(call.task)).ignore_result if given is None else bool(given)

    def _ticket(self, signature: Signature, reply_to: str | None, headers: Mapping[str, HeaderValue]) -> Ticket:
        call = call_options(signature)
        call.setdefault("reply_to", reply_to or "")
        if headers:
            call["headers"] = {**call.get("headers", {}), **headers}
        options = self._options(signature.task)
        return self._sender.prepare(options, signature.args, signature.kwargs, call, timeout=EFFECT_TIMEOUT)
