"""Sending several messages and hearing once what became of all."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from amqtask.ticket import Ticket

Done: TypeAlias = Callable[[Exception | None], None]


def send_all(send: Callable[[Ticket], None], tickets: Sequence[Ticket], done: Done) -> None:
    """Send them all, and say when the broker has them, or why it has one of them not."""
    if not tickets:
        done(None)
        return
    left = len(tickets)
    failure: Exception | None = None

    def sent(ticket: Ticket) -> None:
        # All on the publisher's thread, one after another.
        nonlocal left, failure
        left -= 1
        failure = failure or ticket.error
        if left == 0:
            done(failure)

    for ticket in tickets:
        ticket.on_done = sent
        send(ticket)
