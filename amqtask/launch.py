"""Launcher: sends what comes first of a canvas, and makes the handles on what becomes of it."""

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from amqtask.batch import Batch, open_batch
from amqtask.clock import Clock
from amqtask.context import Context, running
from amqtask.core.canvas import CHAIN, CHORD, GROUP, body_of, everywhere, freeze, gathered, parts, routed_as
from amqtask.core.declare import Arguments, DeclareQueue, Recipe
from amqtask.core.join import Addition, Note, Opening, to_form
from amqtask.core.message import Envelope, Headers
from amqtask.core.plan import JOIN, Call, Family, Join, enlisted, join_queue, plan, root_of, stand_in
from amqtask.core.rest import parked
from amqtask.core.serialize import Serializers
from amqtask.core.signature import Signature
from amqtask.core.state import ResultRef
from amqtask.core.workflow import MARK, STEP
from amqtask.errors import TaskError
from amqtask.publisher import Publisher
from amqtask.result import AsyncResult, GroupResult, Handle
from amqtask.results.access import ResultAccess
from amqtask.sender import Sender
from amqtask.task import CallOptions, Task, TaskOptions
from amqtask.ticket import Ticket
from amqtask.workflowlog import WorkflowLog

KEEP = 7 * 24 * 3600
"""Seconds for which the queue of a chord is kept that nobody looks at: how long its slowest member may take."""

NO_HEADERS: Headers = {}
MOST_REPLACED = 1000
"""How often a task may be replaced by one that is replaced itself."""

_IDS = uuid.UUID("6f2a3e0e-6d0c-4a58-9d6a-0c3f3b1c7a11")


class Launcher:
    """Sends canvases. Thread-safe."""

    def __init__(
        self,
        *,
        sender: Sender,
        publisher: Callable[[], Publisher],
        results: Callable[[], ResultAccess],
        task: Callable[[str], "Task[..., Any] | None"],
        options: Callable[[str], TaskOptions],
        serializers: Serializers,
        clock: Clock,
        window: int,
        timeout: float,
        inline: int | None,
        workflows: Callable[[], WorkflowLog | None],
    ) -> None:
        """`task` finds the tasks that are known here, `options` makes those of any name.

        `inline` bounds the bytes of a chain that a message carries; `workflows` is the log where canvases are
        recorded, None where they are not.
        """
        self._sender = sender
        self._publisher = publisher
        self._results = results
        self._task = task
        self._options = options
        self._serializers = serializers
        self._clock = clock
        self._window = window
        self._timeout = timeout
        self._inline = inline
        self._workflows = workflows

    def launch(
        self, canvas: Signature, args: Sequence[object], kwargs: Mapping[str, object], call: CallOptions
    ) -> Handle:
        """Send what comes first; returns when the broker has all of it, or at once within a batch.

        Raises:
            As `Task.delay`; BatchFailed where several messages were sent and some were not taken.
            TypeError: a canvas takes no keyword arguments.
        """
        if kwargs and canvas.task in (CHAIN, GROUP, CHORD):
            raise TypeError(f"{canvas.task} takes no keyword arguments; give them to its parts")
        complete = canvas.clone(tuple(args), kwargs, **call)
        frozen = freeze(complete, _new_id)
        context = running()
        family = Family() if context is None else Family(root_id=context.root_id, parent_id=context.id)
        steps = self._steps(frozen.signature, family)
        if len(steps) == 1 and isinstance(steps[0], Call) and frozen.ref.id == steps[0].signature.options["task_id"]:
            return self._send(steps[0].signature)
        access = self._results()
        silent = {str(one.options["task_id"]) for one in calls_in(frozen.signature) if self._ignores(one)}
        made = handles(frozen.ref, access, silent)
        for leaf in calls_in(frozen.signature):
            access.backend.expect(str(leaf.options["task_id"]))
        headers = self._recorded(frozen.signature, family)
        if open_batch() is not None:
            self._send_all(steps, headers)
        else:
            with Batch(self._window):
                self._send_all(steps, headers)
        return made

    def warm(self) -> None:
        """Make what sending needs; waits for the broker where replies are asked for."""
        self._sender.warm()

    def replace(self, canvas: Signature, context: Context) -> None:
        """Send a canvas in the place of a running task: with its id, its callbacks, and what follows it.

        Raises:
            TaskError: what was replaced took the place of another, and that again, more often than makes sense.
        """
        nesting = context.replaced_task_nesting + 1
        if nesting > MOST_REPLACED:
            raise TaskError(
                f"{context.task}[{context.id}] has been replaced {MOST_REPLACED} times in a row; it would never end"
            )
        canvas = everywhere(canvas, replaced_task_nesting=nesting)
        for callback in context.callbacks:
            canvas = canvas.link(Signature.from_json(callback))
        for errback in context.errbacks:
            canvas = canvas.link_error(Signature.from_json(errback))
        place = {"group_id": context.group, "group_index": context.group_index, "chord": context.chord}
        known = {name: value for name, value in place.items() if value is not None}
        canvas = stand_in(canvas, str(context.id), context.chain, known)
        self._send_for(canvas, context, f"{context.id}/replaced/{context.retries}")

    def add_to_chord(self, canvas: Signature, context: Context) -> Handle:
        """Send a canvas as one more member of the chord that a running task is a member of.

        Raises:
            TaskError: the task is in no chord.
        """
        if context.chord is None:
            raise TaskError(f"{context.task} is in no chord")
        seed = f"{context.id}/added/{len(context.children)}"
        frozen = freeze(gathered(canvas), ids(seed))
        queue = str(context.chord.get(JOIN) or join_queue(str(context.group)))
        deadline = self._clock.monotonic() + self._timeout
        note = note_envelope(Addition(task_id=frozen.ref.id), self._serializers, "json")
        # The chord must know of it before this member's own end can complete it.
        self._publisher().publish(Ticket(note, "", queue, deadline=deadline))
        self._send_for(enlisted(frozen.signature, {"group_id": context.group, "chord": context.chord}), context, seed)
        return handles(frozen.ref, self._results(), set())

    def _send_for(self, canvas: Signature, context: Context, seed: str) -> None:
        frozen = freeze(canvas, ids(seed))
        family = Family(root_id=context.root_id, parent_id=context.id)
        headers = self._recorded(frozen.signature, family)
        with Batch(self._window):
            self._send_all(self._steps(frozen.signature, family), headers, reply_to=context.reply_to or "")

    def _steps(self, frozen: Signature, family: Family) -> list[Call | Join]:
        return list(parked(plan(frozen, (), family), self._inline))

    def _recorded(self, frozen: Signature, family: Family) -> Headers:
        """Record what is about to be sent; the headers by which workers know that they are to record its steps."""
        log = self._workflows()
        if log is None:
            return {}
        log.sent(frozen, root_id=family.root_id or root_of(frozen), parent_id=family.parent_id)
        return {MARK: STEP}

    def _send_all(self, steps: Sequence[Call | Join], headers: Headers, reply_to: str | None = None) -> None:
        for step in steps:
            if isinstance(step, Call):
                self._send(step.signature, reply_to, headers)
            else:
                self._open(step)

    def _send(
        self, signature: Signature, reply_to: str | None = None, headers: Headers = NO_HEADERS
    ) -> AsyncResult[Any]:
        task = self._task(signature.task)
        if task is not None and task.options.typing:
            task.check_arguments(signature.args, signature.kwargs)
        options = self._options(signature.task)
        call = call_options(signature)
        if reply_to is not None:
            call.setdefault("reply_to", reply_to)
        if headers:
            call["headers"] = {**call.get("headers", {}), **headers}
        return self._sender.send(options, signature.args, signature.kwargs, call)

    def _open(self, join: Join) -> None:
        ticket = opening(join, self._serializers, self._clock.monotonic() + self._timeout)
        batch = open_batch()
        assert batch is not None, "a chord is sent in a batch"
        batch.add(ticket, self._timeout)
        self._publisher().send(ticket)

    def _ignores(self, call: Signature) -> bool:
        given = call.options.get("ignore_result")
        if given is not None:
            return bool(given)
        return self._sender.effective(self._options(call.task)).ignore_result


def opening(join: Join, serializers: Serializers, deadline: float) -> Ticket:
    """The message that opens a chord, with its queue: it is declared before the message is written."""
    queue = join_queue(join.group_id)
    note = Opening(size=join.size, body=join.body.to_json())
    return Ticket(note_envelope(note, serializers, "json"), "", queue, deadline=deadline, needs=(join_recipe(queue),))


def join_recipe(queue: str) -> Recipe:
    """How the queue of a chord is made. One consumer at a time, the next takes over when it goes."""
    arguments: Arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True, "x-expires": KEEP * 1000}
    return Recipe(queue, (DeclareQueue(name=queue, arguments=arguments),), once=True)


def note_envelope(note: Note, serializers: Serializers, serializer: str) -> Envelope:
    """A message for a chord's queue.

    Raises:
        Unserializable: a result has no form.
    """
    encoded = serializers.encode(to_form(note), serializer)
    return Envelope(
        body=encoded.body, content_type=encoded.content_type, content_encoding=encoded.content_encoding, delivery_mode=2
    )


def call_options(signature: Signature) -> CallOptions:
    """The options of a signature as those of a call; what no call knows is left out, as Celery's clients send more."""
    given = signature.options
    known = {name: given[name] for name in CallOptions.__optional_keys__ if given.get(name) is not None}
    links = {"link": signature.callbacks, "link_error": signature.errbacks}
    known.update({name: linked for name, linked in links.items() if linked})
    stamped = given.get("stamped_headers")
    if isinstance(stamped, list | tuple) and "stamps" not in known:
        known["stamps"] = {str(name): given.get(str(name)) for name in stamped}
    by = routed_as(signature)
    if by is not None:
        known["route_as"] = by
    return cast("CallOptions", known)


def calls_in(canvas: Signature) -> Iterator[Signature]:
    """The calls of tasks in a frozen canvas."""
    if canvas.task not in (CHAIN, GROUP, CHORD):
        yield canvas
        return
    for part in parts(canvas):
        yield from calls_in(part)
    if canvas.task == CHORD:
        yield from calls_in(body_of(canvas))


def handles(ref: ResultRef, access: ResultAccess, silent: set[str], known: "dict[str, Handle] | None" = None) -> Handle:
    """The handle on a canvas's result; `silent` are the ids of those that ignore it. A chain may be long."""
    made = {} if known is None else known
    line = [ref]
    while line[-1].parent is not None and line[-1].parent.id not in made:
        line.append(line[-1].parent)
    for one in reversed(line):
        parent = None if one.parent is None else made[one.parent.id]
        if one.members is None:
            made[one.id] = AsyncResult(one.id, access, parent=parent, ignored=one.id in silent)
        else:
            members = [handles(member, access, silent, made) for member in one.members]
            made[one.id] = GroupResult(members, id=one.id, access=access, parent=parent)
    return made[ref.id]


def ids(seed: str) -> Callable[[], str]:
    """Makes ids, the same ones for the same seed."""
    numbers = itertools.count(1)
    return lambda: str(uuid.uuid5(_IDS, f"{seed}/{next(numbers)}"))


def _new_id() -> str:
    return str(uuid.uuid4())
