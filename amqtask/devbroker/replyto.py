"""ReplyAddresses: direct reply-to, a queue that is no queue.

A reply goes straight to the channel that asked, or nowhere.
"""

import base64
import secrets
from typing import Protocol

from amqtask.devbroker.message import Message

PSEUDO_QUEUE = "amq.rabbitmq.reply-to"
PREFIX = PSEUDO_QUEUE + "."


class ReplyReceiver(Protocol):
    def deliver_reply(self, message: Message) -> None: ...


class ReplyAddresses:
    """Who waits under which address."""

    def __init__(self) -> None:
        self._receivers: dict[str, ReplyReceiver] = {}

    def open(self, receiver: ReplyReceiver) -> str:
        """A new address. RabbitMQ's have 91 characters or so; clients that cut them off shall notice here."""
        address = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(51)).decode()
        self._receivers[address] = receiver
        return address

    def close(self, address: str) -> None:
        self._receivers.pop(address, None)

    def is_open(self, address: str) -> bool:
        return address in self._receivers

    def deliver(self, message: Message) -> bool:
        """Whether somebody waits for it."""
        receiver = self._receivers.get(message.routing_key)
        if receiver is not None:
            receiver.deliver_reply(message)
        return receiver is not None
