"""Reading the log of workflows: the tree of one root."""

import json
import uuid

from amqtask.core.message import Envelope
from amqtask.core.workflow import Entry, Node, entry_from_json, tree
from amqtask.errors import MessageError
from amqtask.log import event, get_logger
from amqtask.publisher import Publisher
from amqtask.results.stream_log import END, LogSession, Reading
from amqtask.session import SessionOptions
from amqtask.ticket import Ticket
from amqtask.workflowlog import stream_of

logger = get_logger("workflows")


def read_workflow(options: SessionOptions, publisher: Publisher, root_id: str, timeout: float) -> list[Node]:
    """The tree of a workflow, empty where nothing is recorded of it.

    The stream is read up to a message written for that; `timeout` is how many seconds may pass without any.

    Raises:
        BackendFailed: the stream cannot be read.
        As `Publisher.publish`.
    """
    entries: list[Entry] = []

    def hear(envelope: Envelope) -> None:
        try:
            entries.extend(entry_from_json(form) for form in json.loads(envelope.body))
        except (ValueError, TypeError, MessageError) as error:
            logger.warning("a record of %s is left out: %s", root_id, error, extra=event("workflow-record"))

    stream, end = stream_of(root_id), uuid.uuid4().hex
    session = LogSession(options)
    try:
        reading = Reading(stream, frozenset([root_id]), hear, end)
        session.read(reading)
        publisher.publish(_marker(stream.name, end, options.clock.monotonic() + timeout))
        reading.wait(timeout)
    finally:
        session.close()
    return tree(entries)


def _marker(stream: str, end: str, deadline: float) -> Ticket:
    # Not mandatory: the reader may be about to declare the stream, and then waits in vain, which it says.
    return Ticket(Envelope(body=b"", type=END, correlation_id=end, message_id=end), "", stream, deadline=deadline)
