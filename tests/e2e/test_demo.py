"""The demo, as a newcomer runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pika
import pytest

from examples import brokers
from examples.brokers import VARIABLE
from tests.support.broker import Broker

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 300
"""Seconds for the demo, which takes ten on an idle machine; less than pytest's, so that its output is seen."""

pytestmark = pytest.mark.timeout(2 * DEADLINE)


def demo(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.codestats.demo", *arguments],
        cwd=ROOT,
        env=os.environ | {VARIABLE: url},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def number(pattern: str, output: str) -> int:
    match = re.search(pattern, output, re.MULTILINE)
    assert match is not None, f"{pattern} is not in:\n{output}"
    return int(match[1].replace(",", ""))


def test_the_demo_counts_every_file_and_finishes_hi_before_lo(vhost: str) -> None:
    done = demo(vhost)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("broker: amqp://guest@")
    published = number(r"published ([\d,]+) tasks", done.stdout)
    hi = number(r"^hi: ([\d,]+) files", done.stdout)
    lo = number(r"lo had done [\d,]+ of ([\d,]+)$", done.stdout)
    before = number(r"lo had done ([\d,]+) of", done.stdout)
    assert published > 500
    assert hi + lo == published
    assert before < lo / 2, "hi was not finished first"
    assert number(r"audit: ([\d,]+) copies", done.stdout) == published
    assert re.search(r"^json +hi ", done.stdout, re.MULTILINE)
    assert re.search(r"^broken.txt +lo.dlq +SyntaxError: invalid syntax", done.stdout, re.MULTILINE)


def test_the_demo_needs_no_rabbitmq() -> None:
    done = demo("", "--embedded", "--sample")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("broker: amqtask's own, in memory, ")
    published = number(r"published ([\d,]+) tasks", done.stdout)
    assert number(r"counted ([\d,]+) files", done.stdout) == published
    assert number(r"audit: ([\d,]+) copies", done.stdout) == published


def test_amqtasks_own_broker_is_taken_where_no_rabbitmq_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(brokers, "takes_login", lambda host, port: False)
    monkeypatch.setattr(brokers, "find_server", lambda: None)

    with brokers.find_broker() as found:
        pika.BlockingConnection(pika.URLParameters(found.url)).close()

    assert found.what == "amqtask's own, in memory, because there is no RabbitMQ here"


def test_the_demo_leaves_objects_alone_that_were_there_before_it(vhost: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        channel = connection.channel()
        channel.queue_declare("hi", durable=True)
        channel.basic_publish("", "hi", b"precious")

        done = demo(vhost)

        assert done.returncode == 1
        assert "already has queue hi" in done.stdout
        assert channel.queue_declare("hi", passive=True).method.message_count == 1


def test_what_an_interrupted_demo_left_can_be_removed(vhost: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost)) as connection:
        connection.channel().exchange_declare("files", exchange_type="fanout", durable=True)

        assert demo(vhost, "--clean").returncode == 0

        assert demo(vhost, "--clean").returncode == 0, "there is nothing left to remove, and that is no error"
        channel = connection.channel()
        channel.exchange_declare("files", exchange_type="direct")


def test_a_broker_that_is_not_there_is_named(broker: Broker) -> None:
    done = demo("amqp://guest:secret@localhost:1/")

    assert done.returncode == 1
    assert "cannot reach amqp://guest@localhost:1/" in done.stdout
    assert "secret" not in done.stdout + done.stderr
