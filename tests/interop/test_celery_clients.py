"""The methods of Celery's clients of remote control, by the installed package."""

from celery.app.control import Control as CelerysControl
from celery.app.control import Inspect as CelerysInspect

from amqtask.control.client import AppControl, Inspect

NOT_IN_CONTROL = {
    "Mailbox",  # a class of kombu's that is no command
    "election",  # nodes elect nobody; they answer the command with an error
}
NOT_IN_INSPECT = {
    "app",  # what the client belongs to, no command
    "hello",  # what Celery's workers tell each other when they start; nodes answer it
}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_control_has_celerys_methods() -> None:
    assert public(CelerysControl) - public(AppControl) == NOT_IN_CONTROL


def test_inspect_has_celerys_methods() -> None:
    assert public(CelerysInspect) - public(Inspect) == NOT_IN_INSPECT
