"""What happens to a message between `basic.publish` and routing: checks, sender-selected keys, direct reply-to."""

from typing import Protocol

from amqtask.devbroker import properties, tables
from amqtask.devbroker.arguments import TTL_MAX
from amqtask.devbroker.errors import access_refused, precondition_failed
from amqtask.devbroker.message import Message
from amqtask.devbroker.properties import HEADERS, REPLY_TO, Properties, short_field
from amqtask.devbroker.replyto import PSEUDO_QUEUE
from amqtask.devbroker.vhost import VirtualHost


class Publisher(Protocol):
    """A channel, as far as its publishes are concerned."""

    vhost: VirtualHost

    @property
    def user(self) -> str: ...
    def reply_address(self) -> str: ...


def prepare(
    publisher: Publisher, exchange: str, routing_key: str, known: Properties, body: bytes, address: bytes | None
) -> Message:
    """The message as it goes into queues. Raises SoftError (403, 404, 406) for what RabbitMQ would not take."""
    if publisher.vhost.exchange(exchange).spec.internal:
        raise access_refused(f"cannot publish to internal exchange '{exchange}' in vhost '{publisher.vhost.name}'")
    if known.is_plain:
        return Message(exchange, routing_key, known, body, address)
    if known.user_id is not None and known.user_id != publisher.user:
        raise precondition_failed(
            f"user_id property set to '{known.user_id}' but authenticated user was '{publisher.user}'"
        )
    if known.expiration is not None:
        _check_expiration(known.expiration)
    extra_keys: tuple[str, ...] = ()
    if known.has_sender_selected_keys:
        extra_keys, known = _sender_selected(known)
    if known.reply_to == PSEUDO_QUEUE:
        fields = properties.split(known.raw)
        fields[REPLY_TO] = short_field(publisher.reply_address())
        known = properties.scan(properties.join(fields))
    return Message(exchange, routing_key, known, body, address, extra_keys)


def _check_expiration(expiration: str) -> None:
    if not expiration.isascii() or not expiration.isdigit() or len(expiration) > 20 or int(expiration) > TTL_MAX:
        raise precondition_failed(f"invalid expiration '{expiration}'")


def _sender_selected(known: Properties) -> tuple[tuple[str, ...], Properties]:
    """The keys of the headers CC and BCC, and the properties without BCC."""
    entries = tables.split(known.headers)
    keys: list[str] = []
    for name in ("CC", "BCC"):
        if name in entries:
            value = tables.decode_value(entries[name])
            if not isinstance(value, list):
                raise precondition_failed(f"invalid message: {{unacceptable_type_in_header,'{name}'}}")
            keys.extend(key for key in value if isinstance(key, str))
    if entries.pop("BCC", None) is not None:
        fields = properties.split(known.raw)
        fields[HEADERS] = properties.header_field(entries)
        known = properties.scan(properties.join(fields))
    return tuple(keys), known
