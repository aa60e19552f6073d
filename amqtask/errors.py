"""Every exception that amqtask raises on purpose, grouped by who must act.

The first line of a class's docstring is its default message. Control-flow signals derive from `BaseException`, so that
a task's own `except Exception` cannot swallow them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class AmqtaskError(Exception):
    """amqtask failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().partition("\n")[0])


# You: configuration and use


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a configuration: what is wrong, where, and what to do about it.

    `line` and `column` count from 1; they are None where the value did not come from a file.
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(AmqtaskError):
    """The configuration is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class AppNotFound(AmqtaskError):
    """The app that was named does not exist."""


class AppImportFailed(AmqtaskError):
    """The module of the app exists, but it failed while it was imported."""


class HookFailed(AmqtaskError):
    """A function or component that the app has for the start of its workers failed."""


class AlreadyRegistered(AmqtaskError):
    """Two tasks have the same name."""


class InvalidSchedule(AmqtaskError, ValueError):
    """The schedule is wrong."""


class ExtraMissing(AmqtaskError, ImportError):
    """An optional package is needed for this; the message says which extra brings it."""


class NotRegistered(AmqtaskError):
    """No task of this name is registered."""


class UnknownQueue(AmqtaskError):
    """The configuration declares no such queue."""


class NoRoute(AmqtaskError):
    """No route, queue or exchange was given for this task."""


class WrongArguments(AmqtaskError, TypeError):
    """The arguments do not fit the task's signature, or one of them its annotation."""


class WrongResult(AmqtaskError, TypeError):
    """What a task returned does not fit its annotation."""


class WrongAnnotation(AmqtaskError, TypeError):
    """An annotation of a typed task cannot be checked, or names what is not there."""


class Unserializable(AmqtaskError, TypeError):
    """A task argument cannot be serialised."""


class MessageTooLarge(AmqtaskError):
    """The message is larger than the configured limit."""


class AppClosed(AmqtaskError):
    """The app was closed; it publishes nothing any more."""


# The network and the broker


class BrokerError(AmqtaskError):
    """The broker refused an operation or the connection to it failed.

    `code` and `text` are AMQP's reply code and text where the broker sent them.
    """

    def __init__(self, message: str | None = None, *, code: int | None = None, text: str = "") -> None:
        super().__init__(message or (f"{code} {text}" if code else None))
        self.code = code
        self.text = text


class ConnectionFailed(BrokerError):
    """No connection to the broker could be opened."""


class ConnectionLost(BrokerError):
    """The connection to the broker was lost."""


class AuthenticationFailed(ConnectionFailed):
    """The broker refused the user name or the password (403 ACCESS_REFUSED)."""


class VhostUnavailable(ConnectionFailed):
    """The virtual host does not exist, or the user may not use it."""


class ChannelClosed(BrokerError):
    """The broker closed the channel."""


class PermissionDenied(ChannelClosed):
    """The broker's user lacks a permission (403 ACCESS_REFUSED)."""


class NotFound(ChannelClosed):
    """The queue or exchange does not exist (404 NOT_FOUND)."""


class ResourceLocked(ChannelClosed):
    """Another connection holds the queue exclusively (405 RESOURCE_LOCKED)."""


class PreconditionFailed(ChannelClosed):
    """What exists differs from what was asked for (406 PRECONDITION_FAILED)."""


# Publishing


class PublishError(AmqtaskError):
    """A message was not published."""


class Unroutable(PublishError):
    """No queue takes a message with this exchange and routing key."""


class PublishNacked(PublishError):
    """A queue refused the message: it is full, or the broker failed to keep it."""


class PublishTimeout(PublishError):
    """The broker did not confirm in time; whether the message was kept is not known."""


class BatchFailed(PublishError):
    """Some messages of a batch were not published; `failures` maps their ids to what happened."""

    def __init__(self, failures: Mapping[str, Exception], total: int) -> None:
        first = next(iter(failures.items()))
        super().__init__(f"{len(failures)} of {total} messages were not published; the first, {first[0]}: {first[1]}")
        self.failures = dict(failures)
        self.total = total


# The peer: messages that cannot be taken


class MessageError(AmqtaskError):
    """A message cannot be taken as a task."""


class Undecodable(MessageError):
    """The body cannot be decoded."""


class ContentRefused(MessageError):
    """The content type, encoding or compression is not accepted here."""


class MalformedMessage(MessageError):
    """A header is missing or of the wrong type."""


# Tasks


class TaskError(AmqtaskError):
    """A task did not succeed."""


class TaskFailed(TaskError):
    """A task raised an exception of a type that this process does not know.

    `type_name` is its name, `remote_traceback` the text of the traceback where it ran.
    """

    def __init__(self, message: str, *, type_name: str = "", remote_traceback: str | None = None) -> None:
        super().__init__(f"{type_name}: {message}" if type_name else message)
        self.type_name = type_name
        self.remote_traceback = remote_traceback


class MaxRetriesExceeded(TaskError):
    """The task used up its retries."""


class TimeLimitExceeded(TaskError):
    """The task ran longer than its hard time limit."""


class WorkerLost(TaskError):
    """The process that ran the task died."""


class TaskRevoked(TaskError):
    """The task was revoked before it ran to its end."""


class ChordError(TaskError):
    """A member of a chord failed, so that its body cannot run; the message names the member."""


class ResultTimeout(TaskError, TimeoutError):
    """The result did not come in time."""


class ResultUnavailable(TaskError):
    """There is no result to wait for: the task ignores results, or no result backend keeps them."""


class BackendFailed(AmqtaskError):
    """The result backend could not be asked, or it refused."""


# Beat


class BeatStoreFailed(AmqtaskError):
    """The store of beat's state could not be asked, or it refused."""


class Fenced(AmqtaskError):
    """Another beat has taken over since; what this one says does not count any more."""


# Signals: raised by or into a running task


class TaskSignal(BaseException):
    """Ends a task otherwise than by success or failure."""


class Retry(TaskSignal):
    """The task is to be tried again."""

    def __init__(self, message: str = "", *, exc: BaseException | None = None, countdown: float | None = None) -> None:
        super().__init__(message)
        self.exc = exc
        self.countdown = countdown


class Reject(TaskSignal):
    """The task rejects its message: to the dead-letter queue, or back to its queue."""

    def __init__(self, reason: object = None, *, requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue


class Ignore(TaskSignal):
    """The task is over; nothing is to be recorded."""


class SoftTimeLimitExceeded(TaskSignal):
    """The task ran longer than its soft time limit."""
