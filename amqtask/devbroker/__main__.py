"""`python -m amqtask.devbroker`: a broker for development, until Ctrl-C."""

import argparse
import pathlib
import resource
import signal
import sys
import threading
from collections.abc import Sequence

from amqtask.devbroker.broker import MEMORY_WATERMARK
from amqtask.devbroker.emulate import DEFAULT, PROFILES
from amqtask.devbroker.server import Server

MIB = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a broker; 0 after a clean stop, 2 for a mistake in the arguments, 1 if it cannot start."""
    given = _parser().parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    raise_file_limit()
    try:
        server = Server(
            host=given.host,
            port=given.port,
            user=given.user,
            password=given.password,
            vhosts=["/", *given.vhost],
            emulate=given.emulate,
            data=given.data,
            faults_port=given.faults_port,
            memory_watermark=given.memory * MIB,
        )
        server.start()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"devbroker: {error}\n")
        return 1
    sys.stdout.write(_greeting(server, given.data, given.emulate))
    sys.stdout.flush()
    stopped.wait()
    server.stop()
    return 0


def _greeting(server: Server, data: pathlib.Path | None, emulate: str) -> str:
    kept = (
        f"Durable queues and persistent messages are kept in {data}."
        if data
        else "Everything is in memory and gone at the end."
    )
    lines = [
        f"devbroker listens on {server.url}",
        f"It behaves like RabbitMQ {PROFILES[emulate].version} and is for development and tests only.",
        kept,
    ]
    if server.faults_port is not None:
        lines.append(f"Faults: http://127.0.0.1:{server.faults_port}/")
    return "\n".join([*lines, "Ctrl-C ends it.", ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amqtask.devbroker",
        description="An AMQP 0-9-1 broker for development and tests. Not for production.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; any but loopback needs --password")
    parser.add_argument("--port", type=int, default=5673, help="port (0: any free one; default %(default)s)")
    parser.add_argument("--user", default="guest")
    parser.add_argument("--password", default="guest")
    parser.add_argument("--vhost", action="append", default=[], help="a virtual host beside /; may be repeated")
    parser.add_argument(
        "--emulate", choices=sorted(PROFILES), default=DEFAULT, help="RabbitMQ's version (default %(default)s)"
    )
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="keep what is durable in this folder")
    parser.add_argument(
        "--faults-port", type=int, metavar="PORT", help="serve the page for faults on this port of loopback"
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=MEMORY_WATERMARK // MIB,
        metavar="MIB",
        help="block publishers above this (default %(default)s)",
    )
    return parser


def raise_file_limit() -> None:
    """Each client is an open file, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
