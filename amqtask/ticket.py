"""Ticket: one message on its way to the broker, and what became of it."""

import threading
from collections.abc import Callable, Sequence

from amqtask.core.declare import Recipe
from amqtask.core.message import Envelope
from amqtask.errors import PublishTimeout


class Ticket:
    """One message on its way. Once `done`, `error` says why it was not published, or is None: the broker has it."""

    __slots__ = (
        "_event",
        "confirm",
        "deadline",
        "done",
        "envelope",
        "error",
        "exchange",
        "mandatory",
        "needs",
        "on_done",
        "renewed",
        "routing_key",
        "written",
    )

    def __init__(
        self,
        envelope: Envelope,
        exchange: str,
        routing_key: str,
        *,
        deadline: float,
        mandatory: bool = True,
        confirm: bool = True,
        needs: Sequence[Recipe] = (),
        on_done: Callable[["Ticket"], None] | None = None,
    ) -> None:
        """`needs` is declared before the message is written, each recipe once a connection.

        `on_done` is called once, on the publisher's thread, when the fate of the message is known.
        """
        self.envelope = envelope
        self.exchange = exchange
        self.routing_key = routing_key
        self.deadline = deadline
        self.mandatory = mandatory
        self.confirm = confirm
        self.needs = needs
        self.on_done = on_done
        self.written = False
        self.renewed = False
        """What it needs was declared once more, because the broker knew nothing of it any more."""
        self.done = False
        self.error: Exception | None = None
        self._event: threading.Event | None = None

    def wait(self, timeout: float) -> None:
        """Wait until the fate of the message is known; raise its error if it has one.

        Raises:
            PublishTimeout: the publisher's thread did not decide in time (it always should, by the ticket's deadline).
        """
        if not self.done:
            waiting = self._event = threading.Event()
            # The publisher's thread may have finished between the two lines above and not seen the event.
            if not self.done and not waiting.wait(timeout):
                raise PublishTimeout(f"no answer from the publisher's thread within {timeout:g} s")
        if self.error is not None:
            raise self.error

    def finish(self, error: Exception | None) -> None:
        """Settle the ticket's fate; the publisher's thread only. The first one counts."""
        if self.done:
            return
        self.error = error
        self.done = True
        if self._event is not None:
            self._event.set()
        if self.on_done is not None:
            self.on_done(self)
