"""QueueSpec: what `queue.declare` says, checked as RabbitMQ checks it.

Which argument goes with which type, and the wording of a refusal, were measured on 3.10.8 by declaring each of them on
each type.
"""

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from amqtask.devbroker.emulate import ConsumerTimeout, Profile
from amqtask.devbroker.errors import SoftError, internal_error, precondition_failed
from amqtask.devbroker.match import equal
from amqtask.devbroker.tables import Table, Value

TTL_MAX = 315_360_000_000
"""Milliseconds: ten years, the longest time that RabbitMQ accepts."""

_AGE = re.compile(r"^(\d+)([YMDhms])$")
_AGE_SECONDS = {"Y": 31_536_000, "M": 2_592_000, "D": 86_400, "h": 3_600, "m": 60, "s": 1}
_OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")


class QueueKind(enum.Enum):
    CLASSIC = "classic"
    QUORUM = "quorum"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """What a declaration asks for. Times are in milliseconds, as on the wire."""

    name: str
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Table = field(default_factory=dict)

    @property
    def kind(self) -> QueueKind:
        """What the queue becomes; a type that does not exist is refused by `check`."""
        named = self.arguments.get("x-queue-type")
        return next((kind for kind in QueueKind if kind.value == named), QueueKind.CLASSIC)

    @property
    def expires_ms(self) -> int | None:
        return self._integer("x-expires")

    @property
    def message_ttl_ms(self) -> int | None:
        return self._integer("x-message-ttl")

    @property
    def max_length(self) -> int | None:
        return self._integer("x-max-length")

    @property
    def max_length_bytes(self) -> int | None:
        return self._integer("x-max-length-bytes")

    @property
    def max_priority(self) -> int | None:
        return self._integer("x-max-priority")

    @property
    def delivery_limit(self) -> int | None:
        return self._integer("x-delivery-limit")

    @property
    def consumer_timeout_ms(self) -> int | None:
        return self._integer("x-consumer-timeout")

    @property
    def overflow(self) -> str:
        return self._string("x-overflow") or "drop-head"

    @property
    def dead_letter_exchange(self) -> str | None:
        return self._string("x-dead-letter-exchange")

    @property
    def dead_letter_routing_key(self) -> str | None:
        return self._string("x-dead-letter-routing-key")

    @property
    def dead_letters_at_least_once(self) -> bool:
        """As RabbitMQ: at-least-once without reject-publish falls back to at-most-once."""
        return self.arguments.get("x-dead-letter-strategy") == "at-least-once" and self.overflow == "reject-publish"

    @property
    def single_active_consumer(self) -> bool:
        return self.arguments.get("x-single-active-consumer") is True

    @property
    def max_age(self) -> float | None:
        """Seconds that a stream keeps its messages."""
        matched = _AGE.match(str(self.arguments.get("x-max-age", "")))
        return int(matched[1]) * _AGE_SECONDS[matched[2]] if matched else None

    def _integer(self, name: str) -> int | None:
        value = self.arguments.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _string(self, name: str) -> str | None:
        value = self.arguments.get(name)
        return value if isinstance(value, str) else None


Check = Callable[[Value], str | None]
"""The reason why a value is refused, as RabbitMQ words it, or None."""


def check(spec: QueueSpec, vhost: str, profile: Profile) -> None:
    """Raises SoftError (406) or HardError (541) for what RabbitMQ would not declare."""
    denied = profile.denied_queue_arguments & spec.arguments.keys()
    if denied:
        raise internal_error(f"argument '{min(denied)}' belongs to a deprecated feature that is not permitted")
    _check_value("x-queue-type", spec, vhost)
    for name in _DEAD_LETTERING & spec.arguments.keys():
        if not isinstance(spec.arguments[name], str):
            kind = _kind(spec.arguments[name])
            raise precondition_failed(
                f"invalid type '{kind}' for arg '{name}' in queue '{spec.name}' in vhost '{vhost}'"
            )
    for name in spec.arguments.keys() & _CHECKS.keys() - _ALLOWED[spec.kind]:
        raise _invalid(name, spec, vhost, f" of queue type rabbit_{spec.kind.value}_queue")
    for name in spec.arguments.keys() & _CHECKS.keys():
        _check_value(name, spec, vhost)
    if "x-dead-letter-routing-key" in spec.arguments and "x-dead-letter-exchange" not in spec.arguments:
        raise _invalid("x-dead-letter-routing-key", spec, vhost, ": routing_key_but_no_dlx_defined")
    _check_version(spec, vhost, profile)
    if spec.kind is not QueueKind.CLASSIC:
        _check_replicated(spec, vhost)


def check_equivalent(current: QueueSpec, received: QueueSpec, vhost: str) -> None:
    """Raises SoftError (406) if a second declaration says something else than the first."""
    where = f"for queue '{current.name}' in vhost '{vhost}'"
    for name in ("durable", "auto_delete"):
        ours, theirs = getattr(current, name), getattr(received, name)
        if ours != theirs:
            said = f"received '{str(theirs).lower()}' but current is '{str(ours).lower()}'"
            raise precondition_failed(f"inequivalent arg '{name}' {where}: {said}")
    for name in _CHECKS:
        ours, theirs = current.arguments.get(name), received.arguments.get(name)
        if name == "x-queue-type" and all(value in (None, QueueKind.CLASSIC.value) for value in (ours, theirs)):
            continue
        if not equal(ours, theirs):
            raise precondition_failed(
                f"inequivalent arg '{name}' {where}: received {_said(theirs)} but current is {_said(ours)}"
            )


def _check_value(name: str, spec: QueueSpec, vhost: str) -> None:
    if name in spec.arguments:
        reason = _CHECKS[name](spec.arguments[name])
        if reason is not None:
            raise _invalid(name, spec, vhost, f": {reason}")


def _check_version(spec: QueueSpec, vhost: str, profile: Profile) -> None:
    version = spec.arguments.get("x-queue-version")
    if version is not None and not (isinstance(version, int) and version in profile.queue_versions):
        raise _invalid("x-queue-version", spec, vhost, f': "unsupported queue version {version!r}"')
    timeout_of_queue = (
        profile.consumer_timeout is ConsumerTimeout.CANCELS_CONSUMER and spec.kind is not QueueKind.QUORUM
    )
    if timeout_of_queue and "x-consumer-timeout" in spec.arguments:
        raise _invalid("x-consumer-timeout", spec, vhost, f" of queue type rabbit_{spec.kind.value}_queue")


def _check_replicated(spec: QueueSpec, vhost: str) -> None:
    if not spec.name:
        raise precondition_failed(f"Cannot declare a server-named queue for type rabbit_{spec.kind.value}_queue")
    for name, is_wrong in (
        ("exclusive-owner", spec.exclusive),
        ("auto-delete", spec.auto_delete),
        ("non-durable", not spec.durable),
    ):
        if is_wrong:
            raise precondition_failed(f"invalid property '{name}' for queue '{spec.name}' in vhost '{vhost}'")
    age = spec.arguments.get("x-max-age")
    if age is not None and spec.max_age is None:
        # So does RabbitMQ: it crashes while it declares the stream.
        raise internal_error(f"x-max-age {age!r}")


def _invalid(name: str, spec: QueueSpec, vhost: str, reason: str) -> SoftError:
    return precondition_failed(f"invalid arg '{name}' for queue '{spec.name}' in vhost '{vhost}'{reason}")


def _said(value: Value) -> str:
    return "none" if value is None else f"the value '{value!s}' of type '{_kind(value)}'"


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "signedint"
    return "longstr" if isinstance(value, str) else "table" if isinstance(value, dict) else type(value).__name__


def _not_negative(value: Value) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f'"expected integer, got {_kind(value)}"'
    return f"{{value_negative,{value}}}" if value < 0 else None


def _milliseconds(value: Value) -> str | None:
    reason = _not_negative(value)
    if reason is None and isinstance(value, int) and value > TTL_MAX:
        return f"{{value_too_large,{value}}}"
    return reason


def _positive_milliseconds(value: Value) -> str | None:
    return (
        "{value_zero,0}"
        if value == 0 and isinstance(value, int) and not isinstance(value, bool)
        else _milliseconds(value)
    )


def _octet(value: Value) -> str | None:
    reason = _not_negative(value)
    if reason is None and isinstance(value, int) and value > 255:
        return f"{{max_value_exceeded,{value}}}"
    return reason


def _boolean(value: Value) -> str | None:
    return None if isinstance(value, bool) else f"{{unacceptable_type,{_kind(value)}}}"


def _one_of(values: tuple[str, ...], reason: str) -> Check:
    def check_choice(value: Value) -> str | None:
        if not isinstance(value, str):
            return f"{{unacceptable_type,{_kind(value)}}}"
        return None if value in values else reason.format(value)

    return check_choice


def _anything(value: Value) -> str | None:
    return None


_CHECKS: dict[str, Check] = {
    "x-queue-type": _one_of(tuple(kind.value for kind in QueueKind), "\"unsupported queue type '{}'\""),
    "x-expires": _positive_milliseconds,
    "x-message-ttl": _milliseconds,
    "x-dead-letter-exchange": _anything,
    "x-dead-letter-routing-key": _anything,
    "x-dead-letter-strategy": _one_of(("at-most-once", "at-least-once"), "invalid_dlx_strategy"),
    "x-max-length": _not_negative,
    "x-max-length-bytes": _not_negative,
    "x-max-in-memory-length": _not_negative,
    "x-max-in-memory-bytes": _not_negative,
    "x-max-priority": _octet,
    "x-overflow": _one_of(_OVERFLOWS, "invalid_overflow"),
    "x-queue-mode": _one_of(("default", "lazy"), "\"unsupported queue mode '{}'\""),
    "x-queue-version": _anything,
    "x-single-active-consumer": _boolean,
    "x-max-age": _anything,
    "x-stream-max-segment-size-bytes": _not_negative,
    "x-initial-cluster-size": _anything,
    "x-quorum-initial-group-size": _anything,
    "x-delivery-limit": _anything,
    "x-queue-leader-locator": _one_of(
        ("client-local", "balanced", "random", "least-leaders"), "invalid_queue_locator_arg"
    ),
    "x-queue-master-locator": _anything,
}
"""Every argument that RabbitMQ knows, in the order in which it compares them. Others are kept and ignored."""

_DEAD_LETTERING = {"x-dead-letter-exchange", "x-dead-letter-routing-key"}
_LIMITS = {"x-max-length", "x-max-length-bytes", "x-overflow"}
_ALLOWED: dict[QueueKind, set[str]] = {
    QueueKind.CLASSIC: {"x-queue-type", "x-expires", "x-message-ttl", "x-single-active-consumer"}
    | {"x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"}
    | _DEAD_LETTERING
    | _LIMITS,
    QueueKind.QUORUM: {"x-queue-type", "x-expires", "x-message-ttl", "x-single-active-consumer"}
    | {"x-dead-letter-strategy", "x-max-in-memory-length", "x-max-in-memory-bytes"}
    | {"x-quorum-initial-group-size", "x-delivery-limit", "x-queue-leader-locator"}
    | _DEAD_LETTERING
    | _LIMITS,
    QueueKind.STREAM: {"x-queue-type", "x-max-length-bytes", "x-max-age", "x-stream-max-segment-size-bytes"}
    | {"x-initial-cluster-size", "x-queue-leader-locator"},
}
