"""AMQP's reply codes as amqtask's errors, with the operation and its object in the message."""

import re

from amqtask.core.address import Address
from amqtask.core.declare import (
    BindExchange,
    BindQueue,
    DeclareExchange,
    DeclareOp,
    DeclareQueue,
    DeleteExchange,
    DeleteQueue,
    PurgeQueue,
    UnbindQueue,
)
from amqtask.errors import (
    AuthenticationFailed,
    ChannelClosed,
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ResourceLocked,
    VhostUnavailable,
)

_CHANNEL_ERRORS: dict[int, type[ChannelClosed]] = {
    403: PermissionDenied,
    404: NotFound,
    405: ResourceLocked,
    406: PreconditionFailed,
}

_METHODS = {
    (20, 10): "channel.open",
    (40, 10): "exchange.declare",
    (40, 20): "exchange.delete",
    (40, 30): "exchange.bind",
    (50, 10): "queue.declare",
    (50, 20): "queue.bind",
    (50, 30): "queue.purge",
    (50, 40): "queue.delete",
    (50, 50): "queue.unbind",
    (60, 10): "basic.qos",
    (60, 20): "basic.consume",
    (60, 30): "basic.cancel",
    (60, 40): "basic.publish",
    (60, 80): "basic.ack",
    (60, 90): "basic.reject",
    (60, 120): "basic.nack",
    (85, 10): "confirm.select",
}

# Of the object that the operation names first, and of the other one: a binding's source, the exchange of a queue's dead
# letters, an alternate exchange.
_PERMISSIONS = {
    "exchange.declare": ("configure (with an alternate exchange also read)", "write"),
    "exchange.delete": ("configure", "configure"),
    "exchange.bind": ("write", "read"),
    "queue.declare": ("configure (with dead letters also read)", "write"),
    "queue.bind": ("write", "read"),
    "queue.unbind": ("write", "read"),
    "queue.purge": ("read", "read"),
    "queue.delete": ("configure", "configure"),
    "basic.consume": ("read", "read"),
    "basic.publish": ("write", "write"),
}
_REFUSED = re.compile(r"(?<!configure )(?<!write )(?<!read )access to (?:queue|exchange) '(?P<name>.*?)' in vhost")
_FIRST_NAME = re.compile(r" of (?:queue )?'(.*?)'")


def channel_error(code: int, text: str, operation: str) -> ChannelClosed:
    """Why the broker closed a channel. `operation` says what was asked of which object."""
    kind = _CHANNEL_ERRORS.get(code, ChannelClosed)
    message = f"{operation}: {code} {text}" if operation else f"{code} {text}"
    if kind is PermissionDenied and (needed := _permission(operation, text)):
        message += f" (needed there: {needed})"
    return kind(message, code=code, text=text)


def _permission(operation: str, text: str) -> str | None:
    """Which permission the user lacks; servers from 3.11 on say it themselves (RabbitMQ "Access Control")."""
    refused = _REFUSED.search(text)
    permissions = _PERMISSIONS.get(operation.partition(" ")[0])
    if refused is None or permissions is None:
        return None
    asked = _FIRST_NAME.search(operation)
    return permissions[0] if asked is None or asked[1] == refused["name"] else permissions[1]


def method_name(class_id: int, method_id: int) -> str:
    """The method that a `channel.close` blames, or "" where it blames none (a time-out of the server's)."""
    return _METHODS.get((class_id, method_id), "")


def handshake_error(
    address: Address, code: int, text: str, *, opening: bool, cause: BaseException | None = None
) -> ConnectionFailed:
    """Why the broker closed a connection that was not open yet; `opening`: the login was done already."""
    answer = f"{code} {text}"
    error: ConnectionFailed
    if code == 403 and not opening:
        message = f"{address}: the broker refused user {address.user!r} or its password: {answer}"
        error = AuthenticationFailed(message, code=code, text=text)
    elif opening and (code in {402, 403, 404, 530} or "vhost" in text):
        message = f"{address}: no access to virtual host {address.vhost!r} as user {address.user!r}: {answer}"
        error = VhostUnavailable(message, code=code, text=text)
    else:
        error = ConnectionFailed(f"{address}: the broker refused the connection: {answer}", code=code, text=text)
    error.__cause__ = cause
    return error


def describe(op: DeclareOp) -> str:
    """The operation in a few words, for error messages: "queue.declare of 'hi'"."""
    match op:
        case DeclareExchange():
            return f"exchange.declare of {op.name!r}"
        case DeclareQueue():
            return f"queue.declare of {op.name!r}"
        case BindQueue():
            return f"queue.bind of {op.queue!r} to exchange {op.exchange!r} with key {op.routing_key!r}"
        case UnbindQueue():
            return f"queue.unbind of {op.queue!r} from exchange {op.exchange!r} with key {op.routing_key!r}"
        case BindExchange():
            return f"exchange.bind of {op.destination!r} to exchange {op.source!r} with key {op.routing_key!r}"
        case DeleteQueue():
            return f"queue.delete of {op.name!r}"
        case DeleteExchange():
            return f"exchange.delete of {op.name!r}"
        case PurgeQueue():
            return f"queue.purge of {op.name!r}"
