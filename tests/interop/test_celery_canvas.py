"""Canvases of the real Celery client run by amqtask's workers."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery, chain, chord, group
from kombu import pools
from kombu.entity import Exchange, Queue

from tests.support.eventually import eventually
from tests.support.names import unique
from tests.support.program import Scratch
from tests.support.stores import redis_server

pytestmark = [
    # What Celery and its libraries do is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TASKS = """
    @app.task(name="shop.add")
    def add(a, b):
        return a + b

    @app.task(name="shop.total")
    def total(numbers):
        note("total", sum(numbers))
        return sum(numbers)

    @app.task(name="shop.fail")
    def fail(*args):
        raise ValueError("no luck")

    @app.task(name="shop.note")
    def heard(*words):
        note("heard", *words)
    """


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def client(tmp_path: Path, vhost: str, redis_url: str) -> Iterator[tuple[Celery, Scratch]]:
    """A Celery client and an amqtask worker, on the same broker and the same results in Redis."""
    prefix = unique("p")
    config = f"""
    queues:
      shop: {{}}
    routes:
      - {{task: "*", queue: shop}}
    results: {{backend: redis, url: "{redis_url}", prefix: "{prefix}"}}
    """
    scratch = Scratch(tmp_path, vhost, config, TASKS)
    app = Celery("t", broker=vhost, backend=redis_url, set_as_current=False)
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
    # Ours is a quorum queue, and declared already.
    app.conf.task_queues = [Queue("shop", Exchange("shop"), "shop", no_declare=True)]  # type: ignore[no-untyped-call]
    app.conf.task_default_queue = "shop"
    with ExitStack() as cleanup:
        worker = cleanup.enter_context(scratch.worker("-c", "2"))
        cleanup.callback(pools.reset)
        cleanup.callback(app.close)
        cleanup.callback(app.backend.client.close)
        cleanup.callback(app.backend.result_consumer.stop)
        cleanup.callback(gc.collect)
        yield app, scratch
        print(worker.output())  # noqa: T201 - pytest shows it where a test failed


def test_chains_groups_and_links_of_a_celery_client_run_here(client: tuple[Celery, Scratch]) -> None:
    app, scratch = client
    sig: Callable[..., object] = app.signature

    def call(name: str, *args: object, **more: object) -> object:
        return sig(f"shop.{name}", args=args, options=more)

    def get(canvas: object) -> object:
        return canvas.apply_async().get(timeout=20)  # type: ignore[attr-defined]

    assert get(chain(call("add", 1, 1), call("add", 2), call("add", 3), app=app)) == 7
    assert get(group([call("add", n, n) for n in range(5)], app=app)) == [0, 2, 4, 6, 8]
    assert get(chain(call("add", 1, 1), group([call("add", 1), call("add", 2)], app=app), app=app)) == [3, 4]
    # A chord that begins with Celery's client fails: its size is in the client's result store only. One within a chain
    # is made here.
    with pytest.raises(Exception, match="how many members"):
        get(chord([call("add", n, n) for n in range(5)], call("total"), app=app))
    assert get(chain(call("add", 1, 1), group([call("add", 1), call("add", 2)]), call("total"), app=app)) == 7

    linked = call("add", 20, 1)
    linked.link(call("note", "linked"))  # type: ignore[attr-defined]
    assert get(linked) == 21
    eventually(lambda: "heard 21 linked" in scratch.lines(), 30, lambda: str(scratch.lines()))

    failing = call("fail")
    failing.link_error(call("note", "errback"))  # type: ignore[attr-defined]
    result = failing.apply_async()  # type: ignore[attr-defined]
    eventually(lambda: f"heard {result.id} errback" in scratch.lines(), 30, lambda: str(scratch.lines()))

    items = app.signature("celery.map", kwargs={"task": call("total"), "it": [[1, 2], [3]]})
    assert get(items) == [3, 3]
