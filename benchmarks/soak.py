"""Whether memory grows: ``python -m benchmarks.soak``. Many tasks through one node while another idles; PSS over time.

The slope is that of a straight line through the samples after the warm-up, in KiB a thousand tasks. What is flat has a
slope about zero; what leaks a little with each task has the leak as its slope.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amqtask import App
from amqtask.testing.rabbitmq import PrivateRabbitMQ
from benchmarks.marks import Marks
from benchmarks.processes import Stat, family, pss_bytes, snapshot

MARKS = "AMQTASK_SOAK_MARKS"
CHUNK = 2_000
MOST_OUTSTANDING = 10_000
WARM_UP = 0.15
"""The part of the tasks that passes before the slope is taken: allocators and caches fill."""
ROLES = ("supervisor", "nursery", "working", "idle")

app = App(
    "soak",
    config={
        "queues": {
            "busy": {"type": "classic", "dead_letter": False},
            "quiet": {"type": "classic", "dead_letter": False},
        },
        "tasks": {"default_queue": "busy"},
        "publish": {"timeout": "120s"},
    },
)


@app.task(ignore_result=True)
def noop(index: int, text: str) -> None:
    """A task that leaves its mark and nothing else."""
    descriptor = os.open(os.environ[MARKS], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, bytes((index % 256,)))
    os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Memory after so many tasks: bytes by role, the mean of those that have the same."""

    seconds: float
    tasks: int
    sizes: Mapping[str, float]


def roles(stats: Sequence[Stat], busy: int, idle: int) -> dict[int, str]:
    """What each process is, by where it stands below the two supervisors."""
    parents = {stat.pid: stat.parent for stat in stats}
    found = {}
    for pid in parents:
        line = [pid]
        while (parent := parents.get(line[-1])) is not None and line[-1] not in (busy, idle):
            line.append(parent)
        if len(line) <= 2:
            found[pid] = ROLES[len(line) - 1]
        else:
            found[pid] = "working" if line[-1] == busy else "idle"
    return found


def measure(busy: int, idle: int, began: float, tasks: int) -> Sample:
    """The sizes now."""
    of = roles(family(snapshot(), (busy, idle)), busy, idle)
    sizes = pss_bytes((busy, idle))
    means = {}
    for role in ROLES:
        mine = [size for pid, size in sizes.items() if of.get(pid) == role]
        means[role] = statistics.fmean(mine) if mine else 0.0
    return Sample(seconds=time.monotonic() - began, tasks=tasks, sizes=means)


def slope(samples: Sequence[Sample], role: str) -> float:
    """Bytes a task."""
    return statistics.linear_regression([s.tasks for s in samples], [s.sizes[role] for s in samples]).slope


@contextlib.contextmanager
def worker(queue: str, processes: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A node of the queue."""
    command = [sys.executable, "-m", "amqtask", "worker", "-A", "benchmarks.soak:app", "-l", "warning"]
    command += ["-Q", queue, "-c", str(processes), "-n", f"{queue}@soak"]
    with Path(environment[MARKS]).with_name(f"{queue}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def run(url: str, tasks: int, processes: int, every: float) -> list[Sample]:
    """Send the tasks, a bounded number ahead of those done, and measure meanwhile."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="amqtask-soak-") as folder:
        marks = Marks(Path(folder, "marks"))
        environment = os.environ | {"AMQTASK_BROKER_URL": url, MARKS: str(marks.path)}
        os.environ["AMQTASK_BROKER_URL"] = url
        with worker("busy", processes, environment) as busy, worker("quiet", processes, environment) as idle:
            began, due, sent = time.monotonic(), 0.0, 0
            while (done := marks.count()) < tasks:
                if sent < tasks and sent - done < MOST_OUTSTANDING:
                    with app.batch():
                        for index in range(sent, min(sent + CHUNK, tasks)):
                            noop.delay(index, "some text to carry")
                    sent = min(sent + CHUNK, tasks)
                else:
                    time.sleep(0.05)
                if (ended := busy.poll()) is not None:
                    raise SystemExit(f"the worker ended with {ended}: {Path(folder, 'busy.log').read_text()}")
                if done and time.monotonic() >= due:
                    due = time.monotonic() + every
                    samples.append(measure(busy.pid, idle.pid, began, done))
                    show(samples[-1])
            samples.append(measure(busy.pid, idle.pid, began, tasks))
            show(samples[-1])
            print(marks.tally(tasks))
        app.close()
    return samples


def show(sample: Sample) -> None:
    """A row of the table."""
    sizes = "".join(f"{sample.sizes[role] / 2**20:12.2f}" for role in ROLES)
    print(f"{sample.seconds:8.1f}{sample.tasks:10,}{sizes}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=2, help="of each of the two nodes")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--url", help="the broker; a private RabbitMQ without it")
    given = parser.parse_args()
    print(f"{'seconds':>8}{'tasks':>10}" + "".join(f"{role:>12}" for role in ROLES) + "   (MiB of PSS a process)")
    with contextlib.ExitStack() as stack:
        url = given.url or stack.enter_context(PrivateRabbitMQ()).url
        samples = run(url, given.tasks, given.processes, given.every)
    warm = [sample for sample in samples if sample.tasks >= WARM_UP * given.tasks]
    slopes = "".join(f"{slope(warm, role) * 1000 / 1024:12.3f}" for role in ROLES)
    print(f"{'slope':>18}{slopes}   (KiB a thousand tasks)")


if __name__ == "__main__":
    main()
