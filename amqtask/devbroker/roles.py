"""Who a channel talks to: the broker and the session, as far as it needs them."""

from typing import Protocol

from amqtask.devbroker.context import Context
from amqtask.devbroker.faults import Faults
from amqtask.devbroker.replyto import ReplyAddresses
from amqtask.devbroker.vhost import VirtualHost


class Confirming(Protocol):
    """A channel that has verdicts for its publisher."""

    def tell_confirms(self) -> None: ...


class Hub(Protocol):
    """The broker as a channel sees it."""

    context: Context
    faults: Faults
    replies: ReplyAddresses
    consumer_timeout: float

    def confirm_later(self, channel: Confirming) -> None: ...


class Client(Protocol):
    """The session as a channel sees it."""

    @property
    def broker(self) -> Hub: ...

    vhost: VirtualHost
    user: str
    is_congested: bool
    has_published: bool

    def note_publish(self) -> None: ...
    def channel_closed(self, number: int) -> None: ...
