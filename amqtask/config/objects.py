"""The broker's objects and the routes, as the YAML spells them; `topology.py` turns them into values of the core."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, JsonValue, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from amqtask.config.section import Section, wrong
from amqtask.config.values import Byte, Count, Duration, Positive, Size, parse_whole
from amqtask.core.queue_arguments import QUEUE_ARGUMENTS

Declare: TypeAlias = Literal["always", "verify", "never"]
Arguments: TypeAlias = dict[str, JsonValue]

_KEYS = re.compile(r"(?P<exchange>[^\[\]]+?)\s*(?:\[(?P<keys>[^\[\]]*)\])?")
_ARROW = re.compile(r"(?P<source>.+?)\s*->\s*(?P<target>[^\[\]]+)")
_NOT_A_BIND = 'not a binding; write "exchange[key, other.key]", "exchange[]", or a mapping with "exchange" and "key"'
_NOT_A_BINDING = 'not a binding; write "exchange[key, other.key] -> queue", or a mapping with "from", "to" and "key"'


def _split_keys(text: str, complaint: str) -> tuple[str, list[str]]:
    match = _KEYS.fullmatch(text.strip())
    if match is None:
        raise ValueError(complaint)
    keys = [key.strip() for key in (match["keys"] or "").split(",")]
    if len(keys) > 1 and not all(keys):
        raise ValueError("a routing key between the commas is empty")
    return match["exchange"].strip(), keys


class _Bound(Section):
    """What all forms of a binding have in common."""

    key: str | None = Field(default=None, description="The routing key, or a pattern on a topic exchange.")
    keys: tuple[str, ...] | None = Field(default=None, description="Several routing keys: one binding each.")
    match: Arguments = Field(
        default={},
        description="On a headers exchange: the headers to match, and x-match: all, any, all-with-x, any-with-x.",
    )
    arguments: Arguments = Field(default={}, description="Further arguments of the binding, as they are sent.")

    @model_validator(mode="after")
    def _one_of_key_and_keys(self) -> "_Bound":
        if self.key is not None and self.keys is not None:
            raise wrong("keys", "write key or keys, not both")
        return self

    def routing_keys(self) -> tuple[str, ...]:
        """The routing keys, one for each binding; one empty key where none is given."""
        if self.keys is not None:
            return self.keys
        return (self.key or "",)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


class BindConfig(_Bound):
    """A binding beside its queue or exchange: "tasks[hi.#, urgent.*]" or the long form."""

    exchange: str = Field(description="The exchange that messages come from.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, str):
            exchange, keys = _split_keys(value, _NOT_A_BIND)
            return {"exchange": exchange, "keys": keys}
        return value


class BindingConfig(_Bound):
    """A binding on its own: "tasks[report.#] -> lo" or the long form."""

    source: str = Field(alias="from", description="The exchange that messages come from.")
    target: str = Field(alias="to", description="The queue or exchange that they go to.")
    kind: Literal["queue", "exchange"] | None = Field(
        default=None, description="What `to` names; needed only where a queue and an exchange have the same name."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = _ARROW.fullmatch(value.strip())
        if match is None:
            raise ValueError(_NOT_A_BINDING)
        source, keys = _split_keys(match["source"], _NOT_A_BINDING)
        return {"from": source, "to": match["target"].strip(), "keys": keys}


class ExchangeConfig(Section):
    """One exchange."""

    type: str | None = Field(
        default=None, description="topic (the default), direct, fanout, headers, or a plugin's type."
    )
    durable: bool = Field(default=True, description="Survives a restart of the broker.")
    auto_delete: bool = Field(default=False, description="Goes when its last binding goes.")
    internal: bool = Field(default=False, description="Takes messages from other exchanges only.")
    alternate: str | None = Field(default=None, description="The exchange that gets what no binding takes.")
    bind: tuple[BindConfig, ...] = Field(default=(), description="Bindings from other exchanges to this one.")
    arguments: Arguments = Field(default={}, description="Further arguments, as they are sent.")
    declare: Declare | None = Field(
        default=None, description="always, verify or never, for this exchange; broker.declare otherwise."
    )


class DeadLetterConfig(Section):
    """Where rejected, expired and overflowing messages go: `false`, a queue's name, or this mapping."""

    enabled: bool = Field(default=True, description="false: they are dropped.")
    queue: str | None = Field(
        default=None, description="A queue, reached by the default exchange; `<name>.dlq` by default."
    )
    exchange: str | None = Field(default=None, description="An exchange, instead of a queue.")
    routing_key: str | None = Field(
        default=None, description="The key for that exchange; the message's own key by default."
    )
    strategy: Literal["at-most-once", "at-least-once"] | None = Field(
        default=None, description="at-least-once needs a quorum queue and overflow: reject-publish."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if isinstance(value, bool):
            return {"enabled": value}
        if isinstance(value, str):
            return {"queue": value}
        return value

    @model_validator(mode="after")
    def _one_target(self) -> "DeadLetterConfig":
        if self.queue is not None and self.exchange is not None:
            raise wrong("exchange", "write queue or exchange, not both")
        if self.routing_key is not None and self.exchange is None:
            raise wrong("routing_key", "a routing_key needs an exchange")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "boolean"}, {"type": "string"}, handler(schema)]}


class DelayedRetryConfig(Section):
    """RabbitMQ 4.3's delayed retry of a quorum queue."""

    type: Literal["all", "failed", "returned"] = Field(default="failed", description="Which requeued messages wait.")
    min: Duration = Field(default=1.0, description="The shortest wait.")
    max: Duration | None = Field(default=None, description="The longest wait.")


class QueueSettings(Section):
    """What can be said of a queue; in `defaults.queue`, of all queues whose type knows the setting."""

    type: Literal["quorum", "classic", "stream"] | None = Field(
        default=None, description="quorum by default; classic where the queue is exclusive, auto_delete or not durable."
    )
    message_ttl: Duration | None = Field(default=None, description="Messages older than this expire.")
    expires: Duration | None = Field(default=None, description="The queue goes after so long without use.")
    max_length: Count | None = Field(default=None, description="The most messages that are ready at a time.")
    max_bytes: Size | None = Field(default=None, description="The most bytes of bodies that are ready at a time.")
    overflow: Literal["drop-head", "reject-publish", "reject-publish-dlx"] | None = Field(
        default=None, description="What gives way when the queue is full: the oldest message, or the newest publish."
    )
    dead_letter: DeadLetterConfig | None = Field(
        default=None,
        description="false, a queue's name, or a mapping; the queue `<name>.dlq` for durable queues by default.",
    )
    delivery_limit: Annotated[int, Field(ge=-1), BeforeValidator(parse_whole)] | None = Field(
        default=None, description="Failed deliveries before a message is dead-lettered; -1 is no limit."
    )
    max_priority: Annotated[int, Field(ge=1, le=255), BeforeValidator(parse_whole)] | None = Field(
        default=None, description="The highest priority (classic queues; quorum queues have theirs without it)."
    )
    single_active_consumer: bool | None = Field(
        default=None, description="One consumer at a time; the others stand by."
    )
    leader_locator: Literal["client-local", "balanced"] | None = Field(
        default=None, description="On which node the leader starts."
    )
    initial_group_size: Positive | None = Field(default=None, description="The number of replicas at first.")
    consumer_timeout: Duration | None = Field(
        default=None,
        description="How long a delivery may stay unacknowledged (per queue: RabbitMQ 3.12 to 4.2, quorum on 4.3).",
    )
    delayed_retry: DelayedRetryConfig | None = Field(default=None, description="Delayed retry by the broker (4.3).")
    max_age: Duration | None = Field(default=None, description="Streams: segments older than this are deleted.")
    segment_size: Size | None = Field(default=None, description="Streams: the size of a segment.")
    filter_size: Annotated[int, Field(ge=16, le=255), BeforeValidator(parse_whole)] | None = Field(
        default=None, description="Streams: bytes of the filter of a chunk."
    )


class QueueConfig(QueueSettings):
    """One queue."""

    durable: bool = Field(default=True, description="Survives a restart of the broker.")
    exclusive: bool = Field(default=False, description="Belongs to one connection and goes with it.")
    auto_delete: bool = Field(default=False, description="Goes when its last consumer goes.")
    bind: tuple[BindConfig, ...] = Field(
        default=(), description='Bindings: "tasks[hi.#, urgent.*]", or a mapping with exchange, key or keys, match.'
    )
    arguments: Arguments = Field(default={}, description="Further arguments (x-…), as they are sent.")
    declare: Declare | None = Field(
        default=None, description="always, verify or never, for this queue; broker.declare otherwise."
    )

    @model_validator(mode="after")
    def _nothing_twice(self) -> "QueueConfig":
        for argument in QUEUE_ARGUMENTS:
            section = argument.setting.partition(".")[0]
            if argument.key in self.arguments and getattr(self, section) is not None:
                raise wrong("arguments", f"{argument.key} is also given as {section}")
        return self


class RouteConfig(Section):
    """Where tasks go whose names match. The first route that matches is taken."""

    task: str = Field(description="A task's name, or a pattern with *, ? and [abc].")
    exchange: str | None = Field(default=None, description="The exchange.")
    key: str | None = Field(
        default=None, description="The routing key; may hold {task}, {kwargs.name} and {args.0}; {task} by default."
    )
    queue: str | None = Field(default=None, description="A queue, instead of exchange and key.")
    priority: Byte | None = Field(default=None, description="The messages' priority.")
    confirm: bool | None = Field(default=None, description="Wait for the broker's confirm; publish.confirm otherwise.")
    persistent: bool | None = Field(
        default=None, description="Messages survive a restart; publish.persistent otherwise."
    )
    mandatory: bool | None = Field(
        default=None, description="An unroutable message is an error; publish.mandatory otherwise."
    )

    @model_validator(mode="after")
    def _one_destination(self) -> "RouteConfig":
        if self.queue is not None and (self.exchange is not None or self.key is not None):
            raise wrong("queue", "write queue, or exchange and key, not both")
        return self
