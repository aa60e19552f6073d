"""Control messages on the wire: Celery's format (kombu's pidbox), and a signature in headers of our own.

A command is a JSON object on a fanout exchange; an answer is `{node: value}` on a direct exchange, under the routing
key that the command names.
"""

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from amqtask.core.declare import DeclareExchange, DeclareOp
from amqtask.core.message import TRANSIENT, Envelope, Headers, Json

CONTENT_TYPE = "application/json"
MAX_BODY = 2**20
"""Bytes; a command that is longer is refused unread."""


class BadCommand(ValueError):
    """The message is no command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command to nodes.

    `destination` names nodes; else `pattern` chooses them, read as `matcher` says (glob or pcre); without both it is
    for all. `reply_to` is the exchange and the routing key of the answers; None where nobody waits for them.
    """

    method: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    destination: tuple[str, ...] = ()
    pattern: str | None = None
    matcher: str | None = None
    ticket: str | None = None
    reply_to: tuple[str, str] | None = None

    def is_for(self, node: str) -> bool:
        """Whether this node is meant.

        Raises:
            BadCommand: the pattern cannot be read.
        """
        if self.destination:
            return node in self.destination
        if not self.pattern:
            return True
        if self.matcher == "pcre":
            try:
                return re.match(self.pattern, node) is not None
            except re.error as error:
                raise BadCommand(f"the pattern {self.pattern!r} is no regular expression: {error}") from None
        return fnmatch.fnmatchcase(node, self.pattern)


def request_exchange(name: str) -> DeclareExchange:
    """The exchange that takes commands to every node."""
    return DeclareExchange(name=name, type="fanout", durable=False)


def reply_exchange(name: str) -> DeclareExchange:
    """The exchange of the answers; `name` is the request exchange's."""
    return DeclareExchange(name=f"reply.{name}", type="direct", durable=False)


def exchanges(name: str) -> list[DeclareOp]:
    """Both exchanges."""
    return [request_exchange(name), reply_exchange(name)]


def dump(value: object) -> bytes:
    """JSON; what JSON has no form for is written as Python shows it."""
    return json.dumps(value, default=repr, ensure_ascii=False, separators=(",", ":")).encode()


def command_body(command: Command) -> bytes:
    """A command's body."""
    form: dict[str, object] = {
        "method": command.method,
        "arguments": dict(command.arguments),
        "destination": list(command.destination) or None,
        "pattern": command.pattern,
        "matcher": command.matcher,
    }
    if command.reply_to is not None:
        exchange, key = command.reply_to
        form["ticket"] = command.ticket
        form["reply_to"] = {"exchange": exchange, "routing_key": key}
    return dump(form)


def envelope(body: bytes, headers: Headers, *, expiration_ms: int | None = None) -> Envelope:
    """A message of control: JSON that does not survive a restart of the broker."""
    return Envelope(
        body=body,
        headers=headers,
        content_type=CONTENT_TYPE,
        content_encoding="utf-8",
        delivery_mode=TRANSIENT,
        expiration=None if expiration_ms is None else str(expiration_ms),
    )


def read_command(message: Envelope) -> Command:
    """The command in a message.

    Raises:
        BadCommand: there is none; the message says what is wrong.
    """
    form = _object(message)
    method, arguments = form.get("method"), form.get("arguments") or {}
    if not isinstance(method, str):
        raise BadCommand("a command has a `method`")
    if not isinstance(arguments, dict):
        raise BadCommand("the `arguments` of a command are an object")
    destination = form.get("destination") or []
    if isinstance(destination, str):
        destination = [destination]
    if not isinstance(destination, list):
        raise BadCommand("the `destination` of a command is a list of nodes")
    reply_to = form.get("reply_to")
    answer: tuple[str, str] | None = None
    if isinstance(reply_to, dict):
        answer = (str(reply_to.get("exchange") or ""), str(reply_to.get("routing_key") or ""))
    return Command(
        method=method,
        arguments=arguments,
        destination=tuple(str(node) for node in destination),
        pattern=_text(form.get("pattern")),
        matcher=_text(form.get("matcher")),
        ticket=_text(form.get("ticket")),
        reply_to=answer,
    )


def reply(node: str, value: object, ticket: str | None, clock: int) -> Envelope:
    """A node's answer."""
    return envelope(dump({node: value}), {"ticket": ticket, "clock": clock})


def read_reply(message: Envelope) -> tuple[str | None, dict[str, object]]:
    """The ticket of the command that is answered, and the answer by node.

    Raises:
        BadCommand: it is no answer.
    """
    ticket = message.headers.get("ticket")
    return (None if ticket is None else str(ticket)), dict(_object(message))


def _object(message: Envelope) -> dict[str, Json]:
    if len(message.body) > MAX_BODY:
        raise BadCommand(f"{len(message.body)} bytes are too many for a message of control")
    if message.content_type not in (None, CONTENT_TYPE):
        raise BadCommand(f"messages of control are JSON, not {message.content_type}")
    try:
        form = json.loads(message.body)
    except (ValueError, RecursionError) as error:
        raise BadCommand(f"not JSON: {error}") from None
    if not isinstance(form, dict):
        raise BadCommand("not a JSON object")
    return form


def _text(value: Json) -> str | None:
    return None if value is None else str(value)
