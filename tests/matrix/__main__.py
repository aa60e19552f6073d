"""Runs what depends on the server's version on each version that this machine can have: `make test-matrix`.

Arguments are handed to pytest; without any, all tests that are marked `matrix` run.
"""

import os
import re
import subprocess
import sys
import time
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
    with subprocess.Popen(command, env=given | extra, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        last = ""
        for line in tests.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    summary = re.sub(r"=+|\s+in [0-9.]+s.*$", "", last).strip()
    failed = tests.returncode not in (0, NOTHING_COLLECTED)
    return Row(server.series, found, summary, time.monotonic() - began, failed)


def main() -> int:
    """Print a table of versions and results; 1 when a test failed."""
    rows = [run(server, sys.argv[1:]) for server in SERVERS]
    print(f"\n{'RabbitMQ':<10}{'found':<10}{'time':>7}  result")
    for row in rows:
        spent = f"{row.seconds:.0f} s" if row.seconds else ""
        print(f"{row.series:<10}{row.version:<10}{spent:>7}  {row.result}")
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
