"""Row 34: the store of the results is full. A task is acknowledged when its result is kept, not before."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.program import Scratch
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

TASKS = """
    @app.task
    def value(number):
        note(number)
        return "x" * 1000
    """


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a quarter of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a small file system takes root: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_results_wait_for_room_on_a_full_disk_and_no_task_is_acknowledged_before(
    scratch: MakeScratch, vhost: str, small_disk: Path
) -> None:
    config = f"""
    queues:
      lo: {{}}
    tasks: {{default_queue: lo}}
    results: {{backend: filesystem, url: "{small_disk}/results"}}
    """
    app = scratch(TASKS, config, url=vhost)
    (small_disk / "results").mkdir()
    fill(small_disk / "rubbish")
    sent = app.start_python(
        """
        import tasks
        results = [tasks.value.delay(number) for number in range(8)]
        tasks.note("got", sum(len(result.get(timeout=90)) for result in results))
        """
    )
    with app.worker("-c", "2") as worker:
        worker.wait_for("No space left on device")
        eventually(lambda: len(app.lines()) >= 2)
        assert not [line for line in app.lines() if line.startswith("got")]
        (small_disk / "rubbish").unlink()
        assert sent.wait(90) == 0
        assert worker.stop() == 0
    with Queues(vhost) as queues:
        assert queues.depth("lo") == 0
    assert sorted(app.lines()) == [*map(str, range(8)), "got 8000"]


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(b"x" * 2**20)
