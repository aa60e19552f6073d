"""What the finisher asks of others when it performs the effects of a decision."""

from collections.abc import Sequence
from typing import Protocol

from amqtask.core.body import TaskBody
from amqtask.core.message import Delivery
from amqtask.core.request import Request
from amqtask.core.settlement import Death, Republish
from amqtask.core.state import ResultRef
from amqtask.ticket import Ticket
from amqtask.worker.execution import Execution
from amqtask.worker.sending import Done


class Outbox(Protocol):
    """Makes the messages that effects send, and sends them."""

    def send(self, ticket: Ticket) -> None:
        """Send, not waiting; the ticket's `on_done` hears what became of it."""
        ...

    def again(self, request: Request, body: TaskBody | None, queue: str, effect: Republish) -> Ticket:
        """The message once more: its next attempt, or the same at its proper time."""
        ...

    def follow(self, execution: Execution, value: object) -> Sequence[Ticket]:
        """What follows a success."""
        ...

    def followers(self, execution: Execution) -> Sequence[ResultRef]:
        """Where the results of what follows a success will be asked for."""
        ...

    def errbacks(self, execution: Execution, error: BaseException, traceback: str) -> Sequence[Ticket]:
        """What follows a failure."""
        ...

    def dead_letter(self, delivery: Delivery, queue: str, death: Death) -> Ticket | None:
        """A copy for the dead letters of the queue; None where the configuration knows of none."""
        ...


class Chords(Protocol):
    """Knows what a member's end means to its chord."""

    def returned(self, execution: Execution, value: object, done: Done) -> None:
        """A member has its result."""
        ...

    def resume(self, execution: Execution, queue: str, value: object, done: Done) -> None:
        """A task has its result, and what follows it waits in a queue."""
        ...

    def failed(self, execution: Execution, error: BaseException, done: Done) -> None:
        """A member is never going to have one."""
        ...
