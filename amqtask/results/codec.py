"""Reports as bytes: for a message's body, and for a store's value."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from amqtask.core.compress import compress, decompress
from amqtask.core.failure import exception_to_dict
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Serializers
from amqtask.core.state import FAILURE, SUCCESS, TaskResult, from_celery, precedence, to_celery
from amqtask.errors import MalformedMessage, Undecodable, Unserializable
from amqtask.log import event, get_logger

logger = get_logger("results")

_FRAME = b"aqt1 "
_PLAIN_JSON = ("application/json", "utf-8", None)


@dataclass(frozen=True, slots=True)
class Payload:
    """A report as bytes, and what says how to read them: AMQP's content type and encoding, and kombu's compression."""

    body: bytes
    content_type: str | None
    content_encoding: str | None
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A report as a store keeps it: the report, its precedence and the bytes."""

    result: TaskResult
    precedence: int
    value: bytes


class ResultCodec:
    """Encodes and decodes reports with one serializer; decodes those of the other accepted ones."""

    def __init__(
        self,
        *,
        serializers: Serializers = DEFAULT_SERIALIZERS,
        serializer: str = "json",
        accept: Collection[str] = ("json",),
        compression: str | None = None,
        compress_over: int = 1024,
        max_size: int = 128 * 2**20,
    ) -> None:
        """Bodies of more than `compress_over` bytes are compressed; `max_size` bounds what one may unfold to."""
        self._serializers = serializers
        self._serializer = serializer
        self._accept = frozenset({*accept, serializer})
        self._compression = compression
        self._compress_over = compress_over
        self._max_size = max_size

    def encode(self, result: TaskResult) -> Payload:
        """The report as a body. A return value that has no form is reported as the failure that this is."""
        return self._encode(result, to_celery)[1]

    def record(self, result: TaskResult) -> Record:
        """The report as a store's value: Celery's JSON, or a line that says what follows, if it is something else.

        Both hold the report's precedence, so that a store can compare two values without knowing more of them.
        """
        stored, payload = self._encode(result, _with_precedence)
        number = precedence(stored)
        how = (payload.content_type, payload.content_encoding, payload.compression)
        if how == _PLAIN_JSON:
            return Record(stored, number, payload.body)
        words = (str(number), *(word or "-" for word in how))
        return Record(stored, number, _FRAME + " ".join(words).encode() + b"\n" + payload.body)

    def _encode(self, result: TaskResult, form: Callable[[TaskResult], object]) -> tuple[TaskResult, Payload]:
        try:
            encoded = self._serializers.encode(form(result), self._serializer, ("the report",))
        except Unserializable as error:
            if result.status != SUCCESS:
                raise
            result = failure_instead(result, error)
            encoded = self._serializers.encode(form(result), self._serializer, ("the report",))
        if self._compression is None or len(encoded.body) <= self._compress_over:
            return result, Payload(encoded.body, encoded.content_type, encoded.content_encoding)
        body, compression = compress(encoded.body, self._compression)
        return result, Payload(body, encoded.content_type, encoded.content_encoding, compression)

    def decode(self, payload: Payload) -> TaskResult:
        """The report of a body.

        Raises:
            ContentRefused: it is not of an accepted type.
            Undecodable, MalformedMessage: it is no report.
        """
        body = payload.body
        if payload.compression is not None:
            body = decompress(body, payload.compression, self._max_size)
        data = self._serializers.decode(body, payload.content_type, payload.content_encoding, self._accept)
        try:
            return from_celery(data)
        except RecursionError as error:
            raise Undecodable("the references of a result are nested too deeply") from error

    def precedence_of(self, value: bytes) -> int:
        """The precedence of a store's value; raises as `decode` does."""
        if value.startswith(_FRAME):
            number = value[len(_FRAME) : len(_FRAME) + 20].split(b" ", 1)[0]
            if not number.isdigit():
                raise MalformedMessage("a stored result begins with a line that is not understood")
            return int(number)
        return precedence(self.unpack(value))

    def unpack(self, value: bytes) -> TaskResult:
        """The report of a store's value; raises as `decode` does."""
        if not value.startswith(_FRAME):
            return self.decode(Payload(value, "application/json", "utf-8"))
        line, _, body = value[len(_FRAME) :].partition(b"\n")
        words = line.decode("ascii", "replace").split(" ")
        if len(words) != 4:
            raise MalformedMessage("a stored result begins with a line that is not understood")
        how = [None if word == "-" else word for word in words[1:]]
        return self.decode(Payload(body, *how))


def failure_instead(result: TaskResult, error: Exception) -> TaskResult:
    """What is reported of a success whose value cannot be kept: running the task again would not help, nor waiting."""
    logger.error(
        "the result of task %s cannot be kept: %s",
        result.task_id,
        error,
        extra=event("result-refused", task_id=result.task_id),
    )
    return replace(result, status=FAILURE, result=exception_to_dict(error))


def _with_precedence(result: TaskResult) -> dict[str, object]:
    return {**to_celery(result), "precedence": precedence(result)}
