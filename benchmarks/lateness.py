"""How late delayed tasks are: ``python -m benchmarks.lateness``. Countdowns that end one by one, on an idle broker.

A task is late by the time between the end of its countdown and its first line of code.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from amqtask import App
from amqtask.testing.rabbitmq import PrivateRabbitMQ

STARTS = "AMQTASK_LATENESS_STARTS"
GAP = 0.05
"""Seconds between two tasks of the same countdown: each comes alone."""
READY_WITHIN = 60.0
SPARE = 30.0

app = App("lateness", config={"queues": {"work": {}}, "tasks": {"default_queue": "work"}})


@app.task(ignore_result=True)
def arrive(countdown: float, due: float) -> None:
    """Write down how late it is."""
    late = time.time() - due
    descriptor = os.open(os.environ[STARTS], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{countdown} {late}\n".encode())
    os.close(descriptor)


def lines(path: Path) -> list[tuple[float, float]]:
    """(countdown, seconds late) of each task that ran."""
    return [(float(a), float(b)) for a, b in (line.split() for line in path.read_text().splitlines())]


def run(url: str, countdowns: list[float], count: int) -> list[tuple[float, float]]:
    """Send so many of each countdown, and wait until all have come."""
    with tempfile.TemporaryDirectory(prefix="amqtask-lateness-") as folder:
        starts = Path(folder, "starts")
        starts.touch()
        os.environ |= {"AMQTASK_BROKER_URL": url, STARTS: str(starts)}
        command = [
            sys.executable,
            "-m",
            "amqtask",
            "worker",
            "-A",
            "benchmarks.lateness:app",
            "-c",
            "2",
            "-l",
            "warning",
        ]
        with Path(folder, "worker.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            # The first makes the delay queues, and shows that the worker is there.
            arrive.delay(0.0, time.time())
            wait(starts, 1, READY_WITHIN)
            if not lines(starts):
                raise SystemExit(f"the worker takes no tasks: {Path(folder, 'worker.log').read_text()}")
            arrive.apply_async((0.0, time.time()), countdown=1.0)
            wait(starts, 2, READY_WITHIN)
            for _ in range(count):
                for countdown in countdowns:
                    arrive.apply_async((countdown, time.time() + countdown), countdown=countdown)
                    time.sleep(GAP)
            wait(starts, 2 + count * len(countdowns), max(countdowns) + SPARE)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            app.close()
        return lines(starts)[2:]


def wait(path: Path, count: int, timeout: float) -> None:
    """Until so many tasks have come; those that have not in time are missing in the table."""
    until = time.monotonic() + timeout
    while len(lines(path)) < count and time.monotonic() < until:
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lateness", description=__doc__)
    parser.add_argument("--countdowns", default="0.3,1,5,20", help="seconds, with commas")
    parser.add_argument("--count", type=int, default=100, help="tasks of each countdown")
    parser.add_argument("--url", help="the broker; a private RabbitMQ without it")
    given = parser.parse_args()
    countdowns = [float(text) for text in given.countdowns.split(",")]
    with contextlib.ExitStack() as stack:
        url = given.url or stack.enter_context(PrivateRabbitMQ()).url
        seen = run(url, countdowns, given.count)
    print(f"{'countdown':>10}{'tasks':>8}{'early':>8}{'median':>10}{'p99':>10}{'worst':>10}   (milliseconds late)")
    for countdown in countdowns:
        late = sorted(1000 * seconds for of, seconds in seen if of == countdown)
        if not late:
            print(f"{countdown:>9g}s{0:>8}")
            continue
        p99 = late[min(len(late) - 1, int(0.99 * len(late)))]
        early = sum(ms < 0 for ms in late)
        print(f"{countdown:>9g}s{len(late):>8}{early:>8}{statistics.median(late):>10.1f}{p99:>10.1f}{late[-1]:>10.1f}")


if __name__ == "__main__":
    main()
