"""Sending and waiting from an event loop, which is never held up."""

from collections.abc import Callable

from tests.support.broker import ON_EACH_BROKER
from tests.support.program import Scratch

pytestmark = ON_EACH_BROKER

TASKS = """
    from amqtask import group

    @app.task
    def add(a, b):
        return a + b

    @app.task
    def fail():
        raise ValueError("no luck")
    """

CLIENT = """
import asyncio, time
from amqtask import Unroutable
from tasks import add, app, fail, group

async def watch(lags, stop):
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append(time.perf_counter() - before - 0.001)

async def main():
    first = await add.adelay(1, 2)
    assert await first == 3
    lags, stop = [], asyncio.Event()
    watcher = asyncio.create_task(watch(lags, stop))
    results = []
    for start in range(0, 1000, 20):
        results += await asyncio.gather(*(add.adelay(n, n) for n in range(start, start + 20)))
    stop.set()
    await watcher
    values = await asyncio.gather(*results)
    assert values == [2 * n for n in range(1000)]
    lags.sort()
    print(len(lags), lags[len(lags) // 2])

    done = await (add.s(1, 1) | group(add.s(1), add.s(2))).adelay()
    assert await done.aget(timeout=60) == [3, 4]
    try:
        await (await fail.aapply_async())
    except ValueError:
        pass
    else:
        raise AssertionError("no exception came back")
    try:
        await add.aapply_async((1, 2), exchange="tasks", routing_key="nobody")
    except Unroutable:
        pass
    else:
        raise AssertionError("an unroutable message was taken")

asyncio.run(main())
"""


def test_a_thousand_publishes_do_not_hold_up_the_event_loop(scratch: Callable[..., Scratch]) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        try:
            turns, median = app.python(CLIENT).split()
        except AssertionError as error:
            error.add_note(worker.output())
            raise

    # Of a loop that waits for the broker at each publish, hardly any turn would be short.
    assert int(turns) > 50
    assert float(median) < 0.005
