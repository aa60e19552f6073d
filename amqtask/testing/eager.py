"""Eager mode: `with app.eager():` calls run here and now, through the code that a worker runs them with.

What is published is executed in this process instead, as soon as it is sent; results are kept in memory, chords joined
there. Arguments and results pass through the serializers, retries run at once, times to wait for are passed over, and
routes are not asked for what a broker would say. Meant for one thread.
"""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Callable, Iterator

from amqtask.app import App
from amqtask.assembly import Parts
from amqtask.builtins import register_builtins
from amqtask.core.join import Note, Tally
from amqtask.core.message import Delivery, Envelope, Verdict
from amqtask.core.plan import join_queue
from amqtask.core.protocol import read_request
from amqtask.errors import MessageError, Unroutable
from amqtask.publisher import Publisher
from amqtask.results.access import ResultAccess
from amqtask.results.memory import MemoryBackend
from amqtask.ticket import Ticket
from amqtask.worker.board import Board
from amqtask.worker.chords import chords_of
from amqtask.worker.execute import Executing
from amqtask.worker.execution import Execution
from amqtask.worker.finish import Finisher
from amqtask.worker.joiner import Look
from amqtask.worker.outbox import outbox_of
from amqtask.worker.starter import Starter

NAME = "eager"


@contextlib.contextmanager
def eager(app: App) -> Iterator[None]:
    """Have an app's calls run in this process."""
    before = app.parts
    parts = EagerParts(app, before.loaded, origin=NAME)
    app._parts = parts
    try:
        parts.begin(app)
        yield
    finally:
        app._parts = before


class EagerParts(Parts):
    """An app's parts without a broker."""

    def begin(self, app: App) -> None:
        """Make what executes, once the app has these parts."""
        self._eager = EagerPublisher(app)
        self._access = ResultAccess(backend=MemoryBackend(self.result_codec), convert=self._convert)
        self._eager.begin()

    @property
    def publisher(self) -> Publisher:
        """What executes instead of publishing."""
        return self._eager

    @property
    def workflows(self) -> None:
        """Nothing is recorded."""

    @property
    def results(self) -> ResultAccess:
        """Results in memory."""
        return self._access


class EagerPublisher(Publisher):
    """Executes what it is given."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: collections.deque[Ticket] = collections.deque()
        self._deferring = 0
        self._joins: dict[str, list[Envelope]] = {}

    def begin(self) -> None:
        """Make the parts of a worker that are needed."""
        app = self._app
        register_builtins(app.tasks, app)
        starter = Starter(sender=app.parts.sender, options=app.options_of, clock=app.clock, inline=app.parts.inline)
        self._finisher = Finisher(
            node=NAME,
            clock=app.clock,
            outbox=outbox_of(app, NAME, starter),
            chords=chords_of(app, NAME, starter, self._joiner),
            read=lambda execution: self._executing.peek(execution),
            backend=app.backend,
            settle=_settle,
            ended=_nothing,
            later=lambda seconds, call: call(),
            is_void=lambda delivery: False,
        )
        content = app.config.content
        self._executing = Executing(
            node=NAME,
            clock=app.clock,
            board=Board.create(1),
            accept=content.accept,
            max_decompressed_size=content.max_decompressed_size,
            middlewares=app.middleware,
            may_start=lambda execution: True,
            acknowledge=_acknowledge,
            started=_nothing,
            finish=lambda execution, outcome: self._defer(lambda: self._finisher.finish(execution, outcome)),
            calm=_nothing,
        )

    def send(self, ticket: Ticket) -> None:
        """Execute it, or have it executed by whoever executes now."""
        self._waiting.append(ticket)
        while self._waiting and not self._deferring:
            self._take(self._waiting.popleft())

    def publish(self, ticket: Ticket) -> None:
        """Execute it.

        Raises:
            NotRegistered: no task of this name is known here.
        """
        self.send(ticket)
        if ticket.error is not None:
            raise ticket.error

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call it."""
        call()

    def flush(self, timeout: float) -> bool:
        """Nothing is ever under way."""
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Nothing is open."""

    def _defer(self, call: Callable[[], None]) -> None:
        """What is sent meanwhile is executed afterwards: a long chain must not become a deep stack."""
        self._deferring += 1
        try:
            call()
        finally:
            self._deferring -= 1

    def _take(self, ticket: Ticket) -> None:
        if ticket.routing_key.startswith(join_queue("")):
            self._defer(lambda: self._keep(ticket))
            return
        try:
            execution = self._execution(ticket)
        except Exception as error:  # noqa: BLE001 - the ticket's fate, which its sender raises
            self._finish(ticket, error)
            return
        self._finish(ticket, None)
        if not execution.is_async:
            self._executing.run(execution)
            return
        # There may be a loop in this thread already.
        thread = threading.Thread(target=lambda: asyncio.run(self._executing.run_async(execution)))
        thread.start()
        thread.join()

    def _finish(self, ticket: Ticket, error: Exception | None) -> None:
        self._defer(lambda: ticket.finish(error))

    def _execution(self, ticket: Ticket) -> Execution:
        delivery = Delivery(
            envelope=ticket.envelope,
            tag=0,
            generation=0,
            exchange=ticket.exchange,
            routing_key=ticket.routing_key,
            redelivered=False,
            consumer_tag="",
        )
        request = read_request(delivery)
        task = self._app.tasks[request.task]
        settings = self._app.parts.sender.effective(task.options)
        return Execution(request, ticket.routing_key, task, settings, self._executing)

    def _keep(self, ticket: Ticket) -> None:
        notes = self._joins.get(ticket.routing_key)
        if notes is None and not ticket.needs:
            ticket.finish(Unroutable(f"{ticket.routing_key} is over"))
            return
        self._joins.setdefault(ticket.routing_key, []).append(ticket.envelope)
        ticket.finish(None)

    def _joiner(self, read: Callable[[Envelope], Note]) -> "EagerJoiner":
        return EagerJoiner(self._joins, read)


class EagerJoiner:
    """Joins chords in memory."""

    def __init__(self, joins: dict[str, list[Envelope]], read: Callable[[Envelope], Note]) -> None:
        self._joins = joins
        self._read = read

    def look(self, look: Look) -> None:
        """Finish the chord if it is complete."""
        tally: Tally = look.tally()
        for envelope in self._joins.get(look.queue, ()):
            tally.note(self._read(envelope))
        if look.queue not in self._joins or not tally.is_complete:
            look.done(None)
            return
        del self._joins[look.queue]
        look.complete(tally, look.done)

    def close(self, timeout: float) -> None:
        """Nothing is open."""


def _settle(delivery: Delivery, verdict: Verdict, queue: str) -> None:
    if verdict is Verdict.REQUEUE:
        raise MessageError(f"a message of {queue} would go back to its queue, and be executed for ever")


def _acknowledge(execution: Execution, then: Callable[[], object]) -> None:
    execution.acked = True
    then()


def _nothing(execution: Execution) -> None:
    pass
