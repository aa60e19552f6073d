"""Results as callers get them from a real worker, over the backends that need nothing but files or RabbitMQ."""

from collections.abc import Callable

import pytest

from tests.e2e.conftest import CONFIG
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    class Unlucky(Exception):
        pass

    @app.task
    def add(a, b):
        return a + b

    @app.task
    def unlucky(number):
        raise Unlucky("no luck", number)

    @app.task(bind=True, track_started=True)
    def count(self, total):
        for number in range(1, total + 1):
            self.progress(number, total, f"step {number}")
        self.update_state("SWEEPING", {"broom": 1})
        return "done"

    @app.task(bind=True)
    def too_early(self):
        self.update_state("SUCCESS", 1)

    @app.task
    def formless():
        return object()

    @app.task
    def rejecting():
        raise Reject("no such order")

    @app.task(ignore_result=True)
    def silent():
        return 1

    @app.task
    def waits():
        return add.delay(1, 1).get(timeout=5)
    """

BACKENDS = {
    "rpc": "results: {backend: rpc}",
    "rabbitmq": "results: {backend: rabbitmq}",
    "filesystem": "results: {backend: filesystem, url: results}",
}

CHECKS = """
import asyncio
import tasks
from amqtask.errors import ResultUnavailable, TaskFailed
from amqtask import GroupResult, ResultSet

result = tasks.add.delay(1, 2)
assert result.get(timeout=30) == 3
assert result.successful() and result.name == "tasks.add", result.report()
assert tasks.app.AsyncResult(result.id).get(timeout=30) == 3

try:
    tasks.unlucky.delay(13).get(timeout=30)
except tasks.Unlucky as error:
    assert error.args == ("no luck", 13), error.args
    assert "raise Unlucky" in str(error.__cause__), error.__cause__
else:
    raise AssertionError("an exception did not come back")

seen = [update.status for update in tasks.count.delay(2).updates(timeout=30)]
ranks = {"STARTED": 0, "PROGRESS": 1, "SWEEPING": 2, "SUCCESS": 3}
assert seen[-1] == "SUCCESS" and seen == sorted(seen, key=ranks.get), seen
followed = tasks.count.delay(3)
steps = [step.current for step in followed.progress(timeout=30)]
assert steps == sorted(steps) and followed.get(timeout=30) == "done", steps

for failing, expected in ((tasks.too_early, ValueError), (tasks.formless, TypeError), (tasks.waits, RuntimeError)):
    try:
        failing.delay().get(timeout=30)
    except expected:
        pass
    else:
        raise AssertionError(f"{failing.name} did not raise")

rejected = tasks.rejecting.delay()
try:
    rejected.get(timeout=30)
except TaskFailed as error:
    assert "no such order" in str(error), error
    assert rejected.state == "REJECTED" and rejected.failed(), rejected.report()
else:
    raise AssertionError("a rejected task returned")

try:
    tasks.silent.delay().get(timeout=30)
except ResultUnavailable:
    pass
else:
    raise AssertionError("a result that is ignored was waited for")

calls = [tasks.add.delay(n, n) for n in range(50)]
together = ResultSet(calls)
assert together.get(timeout=60) == [2 * n for n in range(50)]
assert (together.completed_count(), together.waiting()) == (50, False)
group = GroupResult(calls)
assert group.get(timeout=60) == [2 * n for n in range(50)]

async def main():
    first = tasks.add.delay(2, 2)
    assert await first.aget(timeout=30) == 4
    for results in (group, ResultSet(calls)):
        ended = [member.id async for member in results.as_completed(timeout=30)]
        assert sorted(ended) == sorted(member.id for member in results)
    later = [tasks.add.delay(n, 1) for n in range(5)]
    assert sorted([await each async for each in ResultSet(later).as_completed(timeout=30)]) == [1, 2, 3, 4, 5]

asyncio.run(main())
print(result.id)
"""


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_callers_get_what_became_of_their_tasks(scratch: MakeScratch, backend: str) -> None:
    app = scratch(TASKS, CONFIG + "\n    " + BACKENDS[backend] + "\n")
    with app.worker("-c", "2") as worker:
        try:
            task_id = app.python(CHECKS).strip()
        except AssertionError as error:
            error.add_note(worker.output())
            raise
        if backend != "rpc":
            lookup = f"import tasks; print(tasks.app.AsyncResult({task_id!r}).get(timeout=30))"
            assert app.python(lookup) == "3\n"
        assert worker.stop() == 0
