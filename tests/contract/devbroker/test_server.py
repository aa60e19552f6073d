"""The broker on a socket: what needs real connections, processes or a disk."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pika
import pika.exceptions
import pytest
from pamqp import commands
from pamqp import frame as pamqp_frame

from amqtask.devbroker.__main__ import raise_file_limit
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.errors import HardError
from amqtask.devbroker.server import Server
from tests.support.eventually import eventually

HELLO = b"AMQP\x00\x00\x09\x01"


def connect(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m amqtask.devbroker` and its URL."""
    command = [sys.executable, "-m", "amqtask.devbroker", "--port", "0", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child, child.stdout.readline().split()[-1]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_broker_that_is_killed_loses_no_confirmed_message(tmp_path: pathlib.Path) -> None:
    confirmed = 0
    with process("--data", str(tmp_path)) as (child, url):
        connection = connect(url)
        channel = connection.channel()
        channel.queue_declare("q", durable=True)
        channel.confirm_delivery()
        threading.Timer(1.0, child.kill).start()
        with suppress(pika.exceptions.AMQPError):
            while True:
                channel.basic_publish("", "q", b"%d" % confirmed, pika.BasicProperties(delivery_mode=2))
                confirmed += 1

    with process("--data", str(tmp_path)) as (_, url):
        connection = connect(url)
        channel = connection.channel()
        found = []
        while (got := channel.basic_get("q", auto_ack=True))[0] is not None:
            found.append(int(got[2] or b"-1"))
        connection.close()
    assert confirmed > 0
    # One more may have been written whose confirm did not get through.
    assert found in (list(range(confirmed)), list(range(confirmed + 1)))


def test_a_signal_ends_it_cleanly_and_clients_are_told() -> None:
    with process() as (child, url):
        connection = connect(url)
        child.send_signal(signal.SIGTERM)
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
            connection.process_data_events(30)
        assert closed.value.reply_code == 320
        assert child.wait(30) == 0


def test_another_address_needs_a_password() -> None:
    with pytest.raises(ValueError, match="password"):
        Server(host="0.0.0.0")
    refused = subprocess.run(
        [sys.executable, "-m", "amqtask.devbroker", "--host", "0.0.0.0", "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "password" in refused.stderr


def test_a_port_that_is_taken_is_an_error_where_it_is_started() -> None:
    with Server() as server, pytest.raises(OSError, match="address"):
        Server(port=server.port).start()


def consumers_of(broker: Broker, name: str) -> int:
    queue = broker.vhost().queues.get(name)
    return len(queue.consumers) if queue is not None else 0


def test_a_thousand_connections_work_at_once() -> None:
    greeting = HELLO + b"".join(
        pamqp_frame.marshal(method, channel)
        for method, channel in (
            (commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), 0),
            (commands.Connection.TuneOk(0, 0, 0), 0),
            (commands.Connection.Open("/"), 0),
            (commands.Channel.Open(), 1),
            (commands.Queue.Declare(0, "q"), 1),
            (commands.Basic.Consume(0, "q", "c", no_ack=True), 1),
        )
    )
    raise_file_limit()
    with Server() as server, ExitStack() as stack:
        clients = []
        for _ in range(1000):
            client = stack.enter_context(socket.create_connection((server.host, server.port)))
            client.settimeout(60)
            client.sendall(greeting)
            clients.append(client)
        eventually(lambda: server.call(lambda broker: consumers_of(broker, "q")) == 1000)
        connection = connect(server.url)
        channel = connection.channel()
        for number in range(1000):
            channel.basic_publish("", "q", b"message %d." % number)
        connection.close()
        assert {_last_message(client) for client in clients} == {b"message %d." % number for number in range(1000)}


def _last_message(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b".\xce"):
        received += client.recv(4096)
    return received[received.rindex(b"message") : -1]


def test_a_silent_client_is_dropped_and_one_with_heartbeats_is_not() -> None:
    with Server() as server:
        quiet = pika.BlockingConnection(pika.URLParameters(server.url + "?heartbeat=1"))
        alive = pika.BlockingConnection(pika.URLParameters(server.url + "?heartbeat=1"))
        eventually(lambda: alive.process_data_events(0.1) or server.call(lambda broker: len(broker.sessions)) == 1)
        assert alive.is_open
        assert alive.channel().is_open
        with pytest.raises(pika.exceptions.AMQPError):
            quiet.channel()
        alive.close()


def test_a_publisher_is_blocked_by_the_watermark_and_goes_on_when_it_is_consumed() -> None:
    with Server(memory_watermark=1_000_000) as server:
        publisher, consumer = connect(server.url), connect(server.url)
        told: list[str] = []
        publisher.add_on_connection_blocked_callback(lambda *_: told.append("blocked"))
        publisher.add_on_connection_unblocked_callback(lambda *_: told.append("unblocked"))
        channel = publisher.channel()
        channel.queue_declare("q")
        for _ in range(30):
            channel.basic_publish("", "q", b"x" * 100_000)
        eventually(lambda: publisher.process_data_events(0.05) or told == ["blocked"])
        drain = consumer.channel()
        eventually(
            lambda: (
                drain.queue_purge("q").method.message_count == 0
                and (publisher.process_data_events(0.05) or told[-1:] == ["unblocked"])
            )
        )
        publisher.close()
        consumer.close()


def test_a_consumer_that_does_not_read_does_not_fill_the_memory() -> None:
    with Server() as server:
        publisher = connect(server.url)
        channel = publisher.channel()
        channel.queue_declare("q")
        lazy = connect(server.url)
        lazy.channel().basic_consume("q", lambda *_: None, auto_ack=True)
        for _ in range(300):
            channel.basic_publish("", "q", b"x" * 100_000)
        depth = channel.queue_declare("q", passive=True).method.message_count
        # Some went into buffers of both sides and of the kernel; most waits in the queue.
        assert depth > 150
        eventually(
            lambda: lazy.process_data_events(0.05) or channel.queue_declare("q", passive=True).method.message_count == 0
        )
        publisher.close()
        lazy.close()


def test_time_travel_reaches_clients_on_sockets() -> None:
    with Server() as server:
        connection = connect(server.url)
        channel = connection.channel()
        channel.queue_declare("late")
        channel.queue_declare(
            "wait",
            arguments={"x-message-ttl": 86_400_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "late"},
        )
        channel.basic_publish("", "wait", b"x")
        got: list[bytes] = []
        channel.basic_consume("late", lambda _ch, _method, _properties, body: got.append(body), auto_ack=True)
        server.advance(86_400)
        eventually(lambda: connection.process_data_events(0.05) or got == [b"x"])
        connection.close()


def test_faults_from_python() -> None:
    with Server() as server:
        connection = connect(server.url)
        channel = connection.channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        server.call(lambda broker: setattr(broker.faults, "refuse_publishes", 1))
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", "q", b"x")
        number = server.call(lambda broker: next(iter(broker.sessions)))
        server.call(lambda broker: broker.close_connection(number, HardError(320, "because")))
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
            channel.basic_publish("", "q", b"x")
        assert closed.value.reply_code == 320


def ask(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{server.faults_port}{path}", data=data, headers=given)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_faults_over_http() -> None:
    with Server(faults_port=0) as server:
        connection = connect(server.url)
        channel = connection.channel()
        channel.queue_declare("q", arguments={"x-message-ttl": 3_600_000})
        channel.basic_publish("", "q", b"x")
        channel.confirm_delivery()

        status, page = ask(server, "/")
        assert (status, "Block publishers" in page) == (200, True)
        assert json.loads(ask(server, "/state")[1])["queues"][0]["ready"] == 1
        assert ask(server, "/clock", {"advance": 7200})[0] == 200
        assert json.loads(ask(server, "/state")[1])["queues"][0]["ready"] == 0
        assert json.loads(ask(server, "/faults", {"refuse_publishes": 1})[1])["faults"]["refuse_publishes"] == 1
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", "q", b"x")
        assert json.loads(ask(server, "/block", {"reason": "low on disk"})[1])["alarm"] == "low on disk"
        assert json.loads(ask(server, "/unblock", {})[1])["alarm"] is None
        shown = json.loads(ask(server, "/state")[1])["connections"][0]
        number = shown["number"]
        assert (shown["vhost"], shown["client"]["product"]) == ("/", "Pika Python Client Library")
        assert ask(server, "/close", {"connection": number, "channel": 1, "code": 404})[0] == 200
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.queue_declare("q", passive=True)
        assert closed.value.reply_code == 404
        connection.close()


def test_a_virtual_host_that_is_made_over_http_is_there_after_a_restart(tmp_path: pathlib.Path) -> None:
    with Server(faults_port=0, data=tmp_path) as server:
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
            connect(server.url.replace("%2F", "mine"))
        assert ask(server, "/vhosts", {"name": "mine"})[0] == 200
        connect(server.url.replace("%2F", "mine")).close()
    with Server(data=tmp_path) as server:
        connect(server.url.replace("%2F", "mine")).close()


@pytest.mark.parametrize(
    ("status", "path", "body", "headers"),
    [
        (404, "/nothing", None, {}),
        (404, "/nothing", {}, {}),
        (400, "/faults", {"no_such": 1}, {}),
        (400, "/faults", {"drop_confirms": "1"}, {}),
        (400, "/faults", [], {}),
        (400, "/close", {"connection": 99}, {}),
        (400, "/clock", {"advance": -1}, {}),
        (400, "/vhosts", {}, {}),
        (403, "/block", {}, {"Content_Type": "text/plain"}),
        (403, "/state", None, {"Host": "evil.example"}),
    ],
)
def test_what_the_fault_page_refuses(status: int, path: str, body: Any, headers: dict[str, str]) -> None:
    with Server(faults_port=0) as server:
        assert ask(server, path, body, **headers)[0] == status


def test_noise_on_the_socket_leaves_the_server_alone() -> None:
    with Server(faults_port=0) as server:
        for port in (server.port, server.faults_port):
            for noise in (b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", HELLO + b"\xff" * 100, b""):
                with socket.create_connection(("127.0.0.1", port or 0)) as client:
                    client.sendall(noise)
        connect(server.url).close()
