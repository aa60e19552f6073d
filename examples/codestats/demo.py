"""The demo: `make demo`, or `python -m examples.codestats.demo`.

Publishes one task for each file of the standard library, starts a worker, and prints what it counted.
Where no RabbitMQ is found, or with `--embedded`, it runs on amqtask's own broker. `--sample` takes every tenth file.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from amqtask import AsyncResult
from examples.brokers import VARIABLE, NoBroker, find_broker
from examples.codestats.report import by_package, dead_letter_table, package_table
from examples.codestats.source import SourceFile, Stats, standard_library
from examples.codestats.tasks import app, count
from examples.objects import Objects

QUEUES = ("hi", "lo")
PROCESSES = 2
SAMPLE = 10
WIDTH = 100
"""Columns, where the output goes to a file."""

BROKEN = SourceFile(Path(__file__).with_name("broken.txt"), package="broken")
"""One more file than the standard library has, so that there is something that does not parse."""

IN_THE_WAY = f"""The broker already has {{}}.
They may be yours, so the demo stops here. Give it a virtual host of its own in {VARIABLE};
if an interrupted demo left them, remove them with `python -m examples.codestats.demo --clean`."""


class Stopped(Exception):
    """The demo cannot go on."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file under way: the queue that its task went to, and the handle of its result."""

    file: SourceFile
    queue: str
    result: AsyncResult[Stats]


def publish(files: Sequence[SourceFile]) -> list[Sent]:
    """Send a task for each file; when this returns, the broker has confirmed all of them."""
    with app.batch():
        return [Sent(file, queue_of(file.package), count.delay(str(file.path), package=file.package)) for file in files]


def queue_of(package: str) -> str:
    """The queue, of those that workers consume, that the files of a package go to by the routes and bindings."""
    reached = app.router.resolve(count.name, ["a path"], {"package": package}).queues
    return next(queue for queue in QUEUES if queue in reached)


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own; SIGTERM lets it finish what it runs."""
    command = ["worker", "-A", "examples.codestats.tasks:app", "-Q", ",".join(QUEUES), "--strict", "-c", str(PROCESSES)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "amqtask", *command], stderr=log)
        try:
            yield process
            ended = process.poll()
        finally:
            process.terminate()
            process.wait()
        if ended is not None:
            log.seek(0)
            raise Stopped(f"the worker ended by itself with exit code {ended}:\n{log.read().decode()}")


def watch(sent: Sequence[Sent], progress: Progress, process: subprocess.Popen[bytes]) -> list[str]:
    """Show the results as they come, a bar a queue, while the worker lives; the queue of each, in their order."""
    bars = {queue: progress.add_task(queue, total=sum(one.queue == queue for one in sent)) for queue in QUEUES}
    order: list[str] = []
    for one in sent:

        def came(result: AsyncResult[Stats], queue: str = one.queue) -> None:
            order.append(queue)
            progress.advance(bars[queue])

        one.result.then(came, came)
    while process.poll() is None and len(order) < len(sent):
        time.sleep(0.1)
    return order


def run(console: Console, objects: Objects, *, step: int) -> None:
    """The demo itself, with every `step`th file."""
    files = [*islice(standard_library(), None, None, step), BROKEN]
    started = time.monotonic()
    sent = publish(files)
    seconds = time.monotonic() - started
    console.print(f"published {len(sent):,} tasks in {seconds:.1f} s ({len(sent) / seconds:,.0f} a second), confirmed")
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    started = time.monotonic()
    with worker() as process, Progress(*columns, console=console) as progress:
        order = watch(sent, progress, process)
    seconds = time.monotonic() - started
    console.print(f"counted {len(order):,} files in {seconds:.1f} s ({len(order) / seconds:,.0f} a second)")
    hi, lo = (order.count(queue) for queue in QUEUES)
    before = order[: len(order) - order[::-1].index("hi")].count("lo")
    console.print(f"hi: {hi:,} files, all done when lo had done {before:,} of {lo:,}")
    console.print(f"audit: {objects.depth('audit'):,} copies of messages\n")

    results = [(one.file.package, one.result.get(propagate=False)) for one in sent]
    packages = {one.file.package: one.queue for one in sent}
    totals = by_package((package, stats) for package, stats in results if isinstance(stats, dict))
    console.print(package_table(totals, packages))
    console.print()
    console.print(dead_letter_table(objects.dead_letters()))


def main(arguments: Sequence[str]) -> int:
    """Run the demo; its exit code."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    try:
        with find_broker(embedded="--embedded" in arguments) as broker:
            console.print(f"broker: {broker.what}")
            os.environ[VARIABLE] = broker.url  # beats amqtask.yaml's, here and in the worker
            with app:
                objects = Objects(app)
                if "--clean" in arguments:
                    objects.delete()
                    return 0
                if standing := objects.standing():
                    raise Stopped(IN_THE_WAY.format(", ".join(standing)))
                try:
                    run(console, objects, step=SAMPLE if "--sample" in arguments else 1)
                finally:
                    objects.delete()
    except (NoBroker, Stopped) as error:
        console.print(str(error), style="red", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; what it made on the broker is removed")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
