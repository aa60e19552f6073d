"""Canvases of the real Celery client run by amqtask's workers."""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

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
    with scratch.worker("-c", "2") as worker, celery_client(vhost, redis_url, prefix) as app:
        yield app, scratch
        print(worker.output())  # noqa: T201 - pytest shows it where a test failed


@contextmanager
def celery_client(vhost: str, redis_url: str, prefix: str) -> Iterator[Celery]:
    """A Celery client that sends to the queue `shop` and keeps its results in Redis."""
    app = Celery("t", broker=vhost, backend=redis_url, set_as_current=False)
    app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
    # Ours is a quorum queue, and declared already.
    app.conf.task_queues = [Queue("shop", Exchange("shop"), "shop", no_declare=True)]  # type: ignore[no-untyped-call]
    app.conf.task_default_queue = "shop"
    with ExitStack() as cleanup:
        cleanup.callback(pools.reset)
        cleanup.callback(app.close)
        cleanup.callback(app.backend.client.close)
        cleanup.callback(app.backend.result_consumer.stop)
        cleanup.callback(gc.collect)
        yield app


def caller(app: Celery) -> Callable[..., Any]:
    """Makes Celery's signatures of the tasks here."""
    return lambda name, *args: app.signature(f"shop.{name}", args=args)


def test_chords_of_a_celery_client_run_here(client: tuple[Celery, Scratch]) -> None:
    app, scratch = client
    call = caller(app)
    adds = [call("add", n, n) for n in range(1, 4)]
    broken = chain(call("fail"), call("add", 1), app=app)

    def result(canvas: Any) -> Any:
        return canvas.apply_async()

    plain = result(chord(adds, call("total"), app=app))
    single = result(chord([call("add", 1, 1)], call("total"), app=app))
    of_a_group = result(chord([adds[0], group(adds[1:], app=app)], call("total"), app=app))
    of_a_chain = result(chord([chain(adds[0], call("add", 5), app=app), adds[1]], call("total"), app=app))
    of_a_chord = result(chord([chord(adds, call("total"), app=app), adds[0]], call("total"), app=app))
    large = result(chord([call("add", n, 0) for n in range(100)], call("total"), app=app))
    followed = result(chain(group(adds, app=app), call("total"), call("add", 100), app=app))
    failed = result(chord([adds[0], call("fail"), adds[1]], call("total").on_error(call("note", "errback")), app=app))
    never = result(chord([adds[0], broken], call("total").on_error(call("note", "errback")), app=app))

    values = [one.get(timeout=60) for one in (plain, single, of_a_group, of_a_chain, of_a_chord, large, followed)]
    assert values == [12, 2, 12, 11, 14, 4950, 112]
    for one in (failed, never):
        # Asked by its id, for a client that has the members too raises the error of the one that failed.
        with pytest.raises(Exception, match=r"shop\.fail.*no luck") as caught:
            app.AsyncResult(one.id).get(timeout=60)
        assert type(caught.value).__name__ == "ChordError"
        eventually(lambda: f"heard {one.id} errback" in scratch.lines(), 30, lambda: str(scratch.lines()))  # noqa: B023
    # Of each chord one body, and nothing is left in Redis that a member which came again could count.
    assert sorted(line for line in scratch.lines() if line.startswith("total")) == sorted(
        f"total {total}" for total in (12, 2, 12, 11, 12, 14, 4950, 12)
    )
    assert app.backend.client.keys("*.s") == []


def test_a_chord_of_a_celery_client_with_a_store_of_its_own_fails_with_the_reason(
    tmp_path: Path, vhost: str, redis_url: str
) -> None:
    scratch = Scratch(tmp_path, vhost, "queues: {shop: {}}\ntasks: {default_queue: shop}\n", TASKS)
    with celery_client(vhost, redis_url, unique("p")) as app, scratch.worker("-c", "1") as worker:
        call = caller(app)
        chord([call("add", 1, 1), call("add", 2, 2)], call("total").on_error(call("note", "errback")), app=app).delay()

        eventually(lambda: any(line.endswith("errback") for line in scratch.lines()), 60, worker.output)
        assert "results.backend redis" in worker.output()


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
