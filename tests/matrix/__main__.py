"""Runs what depends on the server's version on each version that this machine can have: `make test-matrix`.

Arguments are handed to pytest; without any, all tests that are marked `matrix` run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.matrix.servers import SERVERS, Missing, Server, environment, version

NOTHING_COLLECTED = 5


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one version."""

    series: str
    version: str
    result: str
    seconds: float = 0.0
    failed: bool = False


def run(server: Server, arguments: list[str]) -> Row:
    """Run the tests on one version."""
    began = time.monotonic()
    try:
        extra = environment(server)
        found = version(extra)
        if not found.startswith(f"{server.series}."):
            raise Missing(f"{server.suite or 'this machine'} has {found}")
    except Missing as missing:
        return Row(server.series, "-", f"skipped: {missing}")
    print(f"\n== RabbitMQ {found} ==", flush=True)
    # A broker that is given would be taken instead of this one.
    given = {key: value for key, value in os.environ.items() if key != "AMQTASK_BROKER_URL"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "matrix", "--color=no", *arguments]
    # Of a session of its own, so that a Ctrl-C comes to it once: from here.
    with subprocess.Popen(
        command, env=given | extra, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as tests:
        assert tests.stdout is not None
        try:
            last = show(tests.stdout)
        except KeyboardInterrupt:
            tests.send_signal(signal.SIGINT)
            show(tests.stdout)
            raise
    summary = re.sub(r"=+|\s+in [0-9.]+s.*$", "", last).strip()
    failed = tests.returncode not in (0, NOTHING_COLLECTED)
    return Row(server.series, found, summary, time.monotonic() - began, failed)


def show(lines: Iterable[str]) -> str:
    """Pass the lines on as they come; the last one that is not empty."""
    last = ""
    for line in lines:
        print(line, end="", flush=True)
        last = line.strip() or last
    return last


def run_all(arguments: list[str]) -> Iterator[Row]:
    """Run the tests on each version, until that is cut by Ctrl-C or SIGTERM."""
    servers = iter(SERVERS)
    for server in servers:
        try:
            row = run(server, arguments)
        except KeyboardInterrupt:
            yield Row(server.series, "-", "cut", failed=True)
            break
        yield row
    for server in servers:
        yield Row(server.series, "-", "not run", failed=True)


def main() -> int:
    """Print a table of versions and results, also when it is cut; 1 when a test failed or some did not run."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = list(run_all(sys.argv[1:]))
    print(f"\n{'RabbitMQ':<10}{'found':<10}{'time':>7}  result")
    for row in rows:
        spent = f"{row.seconds:.0f} s" if row.seconds else ""
        print(f"{row.series:<10}{row.version:<10}{spent:>7}  {row.result}")
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
