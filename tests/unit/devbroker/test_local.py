"""The broker for the threads of one process: names, time, and bytes in and out."""

import os
import threading

import pytest

from amqtask.devbroker.arguments import QueueSpec
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.frames import PROTOCOL_HEADER
from amqtask.devbroker.local import LocalBroker, find_local
from amqtask.devbroker.properties import encode, scan
from tests.unit.devbroker.rig import Client


def put(broker: Broker, queue: str, expiration: str) -> None:
    """Publish a message that expires."""
    Client(broker).channel.publish("", queue, scan(encode({"expiration": expiration})), b"x")


def test_a_broker_is_found_by_its_name_until_it_is_closed() -> None:
    with LocalBroker("mine") as broker:
        assert broker.url == "memory://mine/"
        assert find_local("mine") is broker
        with pytest.raises(ValueError, match="already"):
            LocalBroker("mine")
        with pytest.raises(LookupError, match=r"no broker 'yours' in this process \(there is mine\)"):
            find_local("yours")

    with pytest.raises(LookupError):
        find_local("mine")
    with pytest.raises(LookupError, match="closed"):
        broker.open(lambda: None)


def test_a_forked_process_does_not_take_its_copy_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalBroker("parents"):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        with pytest.raises(LookupError, match="this is another process"):
            find_local("parents")


def test_time_passes_when_somebody_says_so_or_looks() -> None:
    woken = threading.Event()
    with LocalBroker("clock", now=1_000_000.0) as broker:
        broker.open(woken.set)
        broker.call(lambda b: b.vhost().declare_queue(QueueSpec(name="q")))
        broker.call(lambda b: put(b, "q", "3600000"))

        assert 3590 < broker.pause() <= 3600
        broker.advance(3599)
        assert len(broker.call(lambda b: b.messages("q"))) == 1
        broker.advance(2)

        assert broker.call(lambda b: b.messages("q")) == []
        assert 1_003_601 <= broker.time() < 1_003_700
        assert woken.is_set()


def test_what_is_said_is_answered_when_it_returns() -> None:
    with LocalBroker("talk") as broker:
        link = broker.open(lambda: None)
        assert link.take() is None

        link.send(PROTOCOL_HEADER)
        answer = link.take()
        link.send(b"this is no frame")

        assert answer
        assert b"RabbitMQ" in answer
        assert link.take()
        link.close()
        assert link.take() == b""
