"""Dead letters: what a message says about its deaths, and when a circle of them ends.

The format and the rule are RabbitMQ's (rabbit_dead_letter.erl of 3.10): `x-death` has one entry for each queue and
reason, the latest first, with a count; a message that comes back to a queue it has died in, without a rejection in
between, is dropped.
"""

from amqtask.devbroker import properties, tables
from amqtask.devbroker.arguments import QueueKind
from amqtask.devbroker.emulate import LOST, NACKED, Profile
from amqtask.devbroker.message import Message
from amqtask.devbroker.properties import EXPIRATION, HEADERS
from amqtask.devbroker.queue import Death, DeathReason, Queue, Return
from amqtask.devbroker.tables import Table, Timestamp, Value

_FIRST = ("reason", "queue", "exchange")


def dead_letter(queue: Queue, death: Death, profile: Profile) -> Message:
    """The message that goes to the dead-letter exchange of `queue`."""
    message = death.message
    fields = properties.split(message.properties)
    field = fields[HEADERS]
    entries = tables.split(field[4:]) if field is not None else {}
    routing_key = queue.spec.dead_letter_routing_key
    # From RabbitMQ 4.0 the server believes only what it has written itself.
    deaths = _list(entries, "x-death") if message.has_died or profile.reads_x_death else []
    event = _event(queue.name, death, _list(entries, "CC"), fields[EXPIRATION])
    if not deaths:
        entries |= {f"x-first-death-{name}": tables.encode_value(event[name]) for name in _FIRST}
    if profile.last_death_headers:
        entries |= {f"x-last-death-{name}": tables.encode_value(event[name]) for name in _FIRST}
    entries["x-death"] = tables.encode_value(_recorded(event, deaths))
    extra_keys = message.extra_keys
    if routing_key is not None:
        extra_keys = ()
        if not profile.keeps_cc_of_dead_letters:
            entries.pop("CC", None)
    fields[HEADERS] = properties.header_field(entries)
    fields[EXPIRATION] = None
    known = properties.scan(properties.join(fields))
    target = queue.spec.dead_letter_exchange or ""
    key = routing_key if routing_key is not None else message.routing_key
    letter = Message(target, key, known, message.body, extra_keys=extra_keys, has_died=True)
    is_quorum = queue.spec.kind is QueueKind.QUORUM
    letter.arrives_redelivered = is_quorum and _way_of_death(death) in profile.redelivering_deaths
    return letter


def is_cycle(queue: str, headers: Table, reason: DeathReason) -> bool:
    """Whether a message with `headers`, dead-lettered for `reason`, goes round in circles if `queue` takes it."""
    deaths = headers.get("x-death")
    if reason is DeathReason.REJECTED or not isinstance(deaths, list):
        return False
    for death in deaths:
        if not isinstance(death, dict) or death.get("reason") == DeathReason.REJECTED.value:
            return False
        if death.get("queue") == queue:
            return True
    return False


def _way_of_death(death: Death) -> str:
    """As `Profile.redelivering_deaths` has it."""
    if death.cause is Return.LOST:
        return LOST
    if death.reason is DeathReason.REJECTED and death.cause is Return.RETURNED:
        return NACKED
    return death.reason.value


def _event(queue: str, death: Death, carbon_copies: list[Value], expiration: bytes | None) -> Table:
    message = death.message
    event: Table = {
        "count": 1,
        "reason": death.reason.value,
        "queue": queue,
        "time": Timestamp(death.time),
        "exchange": message.exchange,
        "routing-keys": [message.routing_key, *carbon_copies],
    }
    if expiration is not None:
        event["original-expiration"] = tables.text(expiration[1:])
    return event


def _list(entries: dict[str, bytes], name: str) -> list[Value]:
    raw = entries.get(name)
    value = tables.decode_value(raw) if raw is not None else None
    return value if isinstance(value, list) else []


def _recorded(event: Table, deaths: list[Value]) -> list[Value]:
    others: list[Value] = []
    for death in deaths:
        if isinstance(death, dict) and (death.get("queue"), death.get("reason")) == (event["queue"], event["reason"]):
            count = death.get("count")
            event = death | {"count": count + 1 if isinstance(count, int) else 1}
        else:
            others.append(death)
    return [event, *others]
