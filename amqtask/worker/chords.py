"""Chords: what a worker does for the chords that its tasks are members of. `docs/workflows.md` has the argument."""

import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeAlias

from amqtask.app import App
from amqtask.clock import Clock
from amqtask.core.body import decode_body
from amqtask.core.failure import exception_to_dict
from amqtask.core.join import Note, Part, Tally, from_form
from amqtask.core.message import Envelope, HeaderValue
from amqtask.core.plan import JOIN, REST, Family, first_of, join_queue, membership
from amqtask.core.request import Request
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.core.signature import Signature
from amqtask.core.state import FAILURE, TaskResult
from amqtask.core.tick import COPY
from amqtask.core.workflow import ERRBACK, MARK
from amqtask.errors import ChordError, Unroutable, Unserializable
from amqtask.launch import join_recipe, note_envelope
from amqtask.log import event, get_logger
from amqtask.publisher import Publisher
from amqtask.results.base import ResultBackend
from amqtask.ticket import Ticket
from amqtask.worker.execution import Execution
from amqtask.worker.joiner import Done, Joiner, Look
from amqtask.worker.sending import send_all
from amqtask.worker.sizes import Sizes
from amqtask.worker.starter import EFFECT_TIMEOUT, Starter
from amqtask.worker.steps import mark_of

logger = get_logger("worker")

_SIZELESS = (
    "a Celery client sent this chord, and says in its own store of results only how many members it has: keep the"
    " results of this app in the same Redis (results.backend redis), or send the chord with amqtask"
)


class Looker(Protocol):
    """Looks into the queues of chords."""

    def look(self, look: Look) -> None:
        """Look whether a chord is complete, and finish it if so."""
        ...

    def close(self, timeout: float) -> None:
        """End what it has open."""
        ...


MakeJoiner: TypeAlias = Callable[[Callable[[Envelope], Note]], Looker]


class Chords:
    """Reports members to their chords, and sends the bodies of those that are complete. Safe from any thread."""

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        starter: Starter,
        publisher: Publisher,
        backend: ResultBackend,
        joiner: MakeJoiner,
        accept: Collection[str],
        max_size: int,
        serializers: Serializers = DEFAULT_SERIALIZERS,
    ) -> None:
        self._node = node
        self._clock = clock
        self._starter = starter
        self._publisher = publisher
        self._backend = backend
        self._accept = tuple(accept)
        self._max_size = max_size
        self._serializers = serializers
        self._sizes = Sizes(backend)
        self._joiner = joiner(self._read)

    def close(self, timeout: float) -> None:
        """Close the connection, if there was a chord at all."""
        self._sizes.close()
        self._joiner.close(timeout)

    def returned(self, execution: Execution, value: object, done: Done) -> None:
        """A member has its result: add it, and finish the chord if it was the last."""
        chord = None if execution.body is None else execution.body.chord
        if chord is None:
            done(None)
            return
        request = execution.request
        part = Part(task_id=execution.id, index=request.group_index, value=value)
        place = _Place(chord, request.group_id or "", request, execution.effective.serializer)
        self._report(place, part, done)

    def resume(self, execution: Execution, queue: str, value: object, done: Done) -> None:
        """What follows a task waits in a queue: send it, and delete the queue. Where there is none, it was sent."""
        request = execution.request

        def complete(tally: Tally, ended: Done) -> None:
            tickets = self._starter.tickets(
                tally.body,
                (value,),
                family=Family(root_id=request.root_id, parent_id=request.id),
                reply_to=request.reply_to,
                seed=f"{request.id}/next",
                headers={COPY: str(uuid.uuid4()), **mark_of(request)},
            )
            send_all(self._publisher.send, tickets, ended)

        nothing = Signature(task=REST)
        self._joiner.look(Look(queue, need=1, least=1, tally=lambda: Tally(0, nothing), complete=complete, done=done))

    def failed(self, execution: Execution, error: BaseException, done: Done) -> None:
        """A task failed for good: tell the chord that it is a member of, or that the end of its chain is."""
        request, body = execution.request, execution.body
        why = f"{request.task}[{execution.id}] raised {error!r}"
        if body is None:
            done(None)
        elif body.chord is not None:
            part = Part(task_id=execution.id, index=request.group_index, failure=why)
            self._report(_Place(body.chord, request.group_id or "", request, "json"), part, done)
        elif body.chain:
            self._never(Signature.from_json(body.chain[0]), why, request, done)
        else:
            done(None)

    def _never(self, signature: Signature, why: str, member_of: Request, done: Done) -> None:
        """A canvas is never going to run: tell the chord that it was to be a member of, if it was."""
        member = membership(signature)
        chord = None if member is None else member.options.get("chord")
        if member is None or not isinstance(chord, Mapping):
            done(None)
            return
        index = member.options.get("group_index")
        part = Part(
            task_id=str(member.options["task_id"]), index=index if isinstance(index, int) else None, failure=why
        )
        self._report(_Place(chord, str(member.options.get("group_id") or ""), member_of, "json"), part, done)

    def _report(self, place: "_Place", part: Part, done: Done) -> None:
        if place.is_foreign and not self._sizes.are_known:
            # Once is enough for all members.
            first = part.index in (0, None)
            self._fail_body(place, place.body, _SIZELESS, done) if first else done(None)
            return
        try:
            envelope = note_envelope(part, self._serializers, place.serializer)
        except Unserializable as error:
            part = replace(part, value=None, failure=f"{part.task_id} returned what has no form: {error}")
            envelope = note_envelope(part, self._serializers, "json")
        queue = place.queue

        def added(ticket: Ticket) -> None:
            if isinstance(ticket.error, Unroutable):
                logger.info("%s is over; %s came late", queue, part.task_id, extra=event("chord-over"))
                done(None)
            elif ticket.error is not None:
                done(ticket.error)
            elif place.is_foreign:
                self._sizes.ask(place.group_id, sized, done)
            else:
                self._joiner.look(self._look(place, done))

        def sized(size: int | None) -> None:
            if size is None:
                # The last member finds it. Where nobody ever does, this line says what to look for, once a chord.
                logger.log(
                    logging.INFO if part.index in (0, None) else logging.DEBUG,
                    "the results' store has no size of the chord %s: not all of its members are sent, or it is over",
                    place.group_id,
                    extra=event("chord-unsized", task_id=part.task_id),
                )
                done(None)
            else:
                place.size = size
                self._joiner.look(self._look(place, done))

        deadline = self._clock.monotonic() + EFFECT_TIMEOUT
        # A Celery client opens no queue for its chords.
        needs = () if place.is_opened else (join_recipe(queue),)
        self._publisher.send(Ticket(envelope, "", queue, deadline=deadline, needs=needs, on_done=added))

    def _look(self, place: "_Place", done: Done) -> Look:
        opening = 1 if place.is_opened else 0

        def complete(tally: Tally, ended: Done) -> None:
            def told(error: Exception | None) -> None:
                if error is None and place.is_foreign:
                    self._sizes.forget(place.group_id, ended)
                else:
                    ended(error)

            if tally.failure is None:
                self._call_body(place, tally, told)
            else:
                self._fail_body(place, tally.body, str(tally.failure.failure), told)

        return Look(
            place.queue,
            need=place.size + opening,
            least=1 + opening,
            tally=lambda: Tally(place.size, place.body),
            complete=complete,
            done=done,
        )

    def _call_body(self, place: "_Place", tally: Tally, ended: Done) -> None:
        tickets = self._starter.tickets(
            tally.body,
            (tally.values(),),
            family=place.family(tally.body),
            reply_to=place.reply_to,
            seed=place.group_id,
            headers={COPY: str(uuid.uuid4()), **mark_of(place.request)},
        )
        send_all(self._publisher.send, tickets, ended)

    def _fail_body(self, place: "_Place", body: Signature, why: str, ended: Done) -> None:
        """Store the body's failure, call its errbacks once, and tell the chord around it."""
        first = first_of(body)
        body_id = str(first.options.get("task_id") or place.group_id)
        family = place.family(body)

        def told(error: Exception | None) -> None:
            ended(error) if error is not None else self._never(body, why, place.request, ended)

        def stored(error: Exception | None) -> None:
            if error is not None:
                ended(error)
                return
            headers: dict[str, HeaderValue] = {COPY: str(uuid.uuid4()), MARK: ERRBACK}
            tickets: list[Ticket] = []
            for number, errback in enumerate(first.errbacks):
                seed = f"{body_id}/errback/{number}"
                follows = Family(root_id=family.root_id, parent_id=body_id)
                tickets += self._starter.tickets(
                    errback, (body_id,), family=follows, reply_to=place.reply_to, seed=seed, headers=headers
                )
            send_all(self._publisher.send, tickets, told)

        logger.error("the chord %s failed: %s", place.group_id, why, extra=event("chord-failed", task_id=body_id))
        if self._starter.ignores_result(first):
            stored(None)
            return
        result = TaskResult(
            task_id=body_id,
            status=FAILURE,
            result=exception_to_dict(ChordError(why)),
            date_done=datetime.fromtimestamp(self._clock.time(), UTC),
            parent_id=family.parent_id,
            root_id=family.root_id,
            name=first.task,
            worker=self._node,
        )
        self._backend.store(result, reply_to=place.reply_to, done=stored)

    def _read(self, envelope: Envelope) -> Note:
        form = decode_body(
            envelope, accept=self._accept, max_decompressed_size=self._max_size, serializers=self._serializers
        )
        return from_form(form)


def chords_of(app: App, node: str, starter: Starter, joiner: MakeJoiner | None = None) -> Chords:
    """The chords of an app's worker."""
    content = app.config.content
    return Chords(
        node=node,
        clock=app.clock,
        starter=starter,
        publisher=app.publisher,
        backend=app.backend,
        joiner=joiner or partial(Joiner, app.session_options),
        accept=content.accept,
        max_size=content.max_decompressed_size,
    )


class _Place:
    """What a member's message says of its chord."""

    def __init__(self, chord: Mapping[str, object], group_id: str, request: Request, serializer: str) -> None:
        """`request` is the member's, or that of a task before it."""
        self.body = Signature.from_json(chord)
        self.group_id = group_id
        self.request = request
        self.reply_to = request.reply_to
        self.serializer = serializer
        self.is_foreign = self.body.chord_size is None
        """Whether a Celery client sent it, which keeps the size elsewhere."""
        self.size = self.body.chord_size or 1
        named = chord.get(JOIN)
        self.is_opened = isinstance(named, str)
        self.queue = str(named) if isinstance(named, str) else join_queue(group_id)

    def family(self, body: Signature) -> Family:
        """Whose child the body is: its chord's group's."""
        root = body.options.get("root_id")
        return Family(root_id=None if root is None else str(root), parent_id=self.group_id)
