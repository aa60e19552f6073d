"""Results between amqtask and the real Celery: each reads what the other one stored or replied."""

import gc
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery
from celery.app.task import Context
from celery.result import AsyncResult as CeleryResult
from celery.result import GroupResult as CeleryGroup
from kombu import pools

from amqtask.core.failure import exception_to_dict
from amqtask.core.state import ResultRef
from amqtask.errors import TaskRevoked
from amqtask.result import AsyncResult, GroupResult
from amqtask.result import handle as opened
from amqtask.results.access import ResultAccess
from tests.support.eventually import eventually
from tests.support.names import unique
from tests.support.result_rigs import Rig, report, rig
from tests.support.stores import redis_server

pytestmark = [
    # What Celery and its libraries do is not ours to mend.
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Known(Exception):
    """An exception type that both sides have loaded."""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def on_redis(redis_url: str, tmp_path: Path) -> Iterator[tuple[Rig, Celery]]:
    """A rig and a Celery app on the same Redis, with the same prefix."""
    with rig("redis", redis_url, tmp_path) as backends:
        app = Celery("t", broker="memory://", backend=redis_url, set_as_current=False)
        app.conf.result_backend_transport_options = {"global_keyprefix": backends.setup.prefix}
        try:
            yield backends, app
        finally:
            # Celery's handles talk to Redis when they are collected.
            gc.collect()
            app.backend.result_consumer.stop()
            app.backend.client.close()
            app.close()


@pytest.fixture
def on_rpc(module_vhost: str, tmp_path: Path) -> Iterator[tuple[Rig, Celery]]:
    """A rig and a Celery app on the same broker."""
    with ExitStack() as cleanup:
        backends = cleanup.enter_context(rig("rpc", module_vhost, tmp_path))
        app = Celery("t", broker=module_vhost, backend="rpc://", set_as_current=False)
        cleanup.callback(pools.reset)
        cleanup.callback(app.close)
        cleanup.callback(gc.collect)
        yield backends, app


def handle(backends: Rig, task_id: str) -> AsyncResult[object]:
    return AsyncResult(task_id, ResultAccess(backend=backends.client))


# Redis


def test_a_celery_client_reads_what_an_amqtask_worker_stored_in_redis(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    done = report(
        result={"n": [1, 2.5, None, "ü"]},
        children=(ResultRef(id="c1"),),
        group_id="g1",
        parent_id="p1",
        name="shop.add",
        worker="w@host",
        queue="orders",
    )
    backends.put(done)

    seen = CeleryResult(done.task_id, app=app)

    assert seen.get(timeout=30) == {"n": [1, 2.5, None, "ü"]}
    assert (seen.state, seen.name, seen.worker, seen.queue) == ("SUCCESS", "shop.add", "w@host", "orders")
    assert [child.id for child in seen.children] == ["c1"]
    assert seen.date_done is not None


def test_a_waiting_celery_client_is_told_by_redis_when_an_amqtask_worker_stores(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    task = report(result=4)
    seen = CeleryResult(task.task_id, app=app)
    values: list[object] = []
    waiting = threading.Thread(target=lambda: values.append(seen.get(timeout=30)))
    waiting.start()
    key = f"{backends.setup.prefix}celery-task-meta-{task.task_id}"
    eventually(lambda: app.backend.client.pubsub_numsub(key)[0][1] == 1)

    backends.put(task)

    waiting.join(30)
    assert values == [4]


def test_a_celery_client_raises_the_exception_of_an_amqtask_task(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    failed = report("FAILURE", result=exception_to_dict(Known("bad", 7)), traceback="Traceback: there")
    backends.put(failed)

    seen = CeleryResult(failed.task_id, app=app)

    with pytest.raises(Known) as caught:
        seen.get(timeout=30)
    assert caught.value.args == ("bad", 7)
    assert seen.traceback == "Traceback: there"


def test_an_amqtask_client_reads_what_a_celery_worker_stored_in_redis(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    task_id = str(uuid.uuid4())
    request = Context(id=task_id, group="g1", parent_id="p1")
    request.children.append(CeleryResult("c1", app=app))
    app.backend.store_result(task_id, {"n": [1, "ü"]}, "SUCCESS", request=request)

    seen = handle(backends, task_id)

    assert seen.get(timeout=30) == {"n": [1, "ü"]}
    kept = seen.report()
    assert (kept.group_id, kept.parent_id, kept.children) == ("g1", "p1", (ResultRef(id="c1"),))
    assert kept.date_done is not None


def test_an_amqtask_client_raises_the_exception_of_a_celery_task(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    failed, revoked = str(uuid.uuid4()), str(uuid.uuid4())
    app.backend.mark_as_failure(failed, Known("bad", 7), traceback="Traceback: there")
    app.backend.mark_as_revoked(revoked, "terminated")

    with pytest.raises(Known, match="bad") as caught:
        handle(backends, failed).get(timeout=30)
    assert "Traceback: there" in str(caught.value.__cause__)
    with pytest.raises(TaskRevoked, match="terminated"):
        handle(backends, revoked).get(timeout=30)


def test_an_amqtask_client_follows_the_states_of_a_celery_task(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    task_id = str(uuid.uuid4())
    seen: list[str] = []
    following = threading.Thread(
        target=lambda: seen.extend(update.status for update in handle(backends, task_id).updates(timeout=30))
    )
    following.start()

    app.backend.store_result(task_id, {"pid": 1, "hostname": "h"}, "STARTED")
    eventually(lambda: seen == ["STARTED"])
    app.backend.store_result(task_id, 4, "SUCCESS")

    following.join(30)
    assert seen == ["STARTED", "SUCCESS"]


def test_what_celery_stored_as_final_is_not_overwritten_by_an_older_state(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    task = report("STARTED")
    app.backend.store_result(task.task_id, 4, "SUCCESS")

    backends.put(task)
    backends.put(replace(report("FAILURE"), task_id=task.task_id))

    assert CeleryResult(task.task_id, app=app).state == "SUCCESS"


def test_groups_are_restored_by_the_other_side(on_redis: tuple[Rig, Celery]) -> None:
    backends, app = on_redis
    access = ResultAccess(backend=backends.client)
    ours, theirs = unique("ours"), unique("theirs")
    nested = GroupResult([AsyncResult("b", access)], id="inner")
    GroupResult([AsyncResult("a", access), nested], id=ours).save()
    CeleryGroup(theirs, [CeleryResult("a", app=app), CeleryGroup("inner", [CeleryResult("b", app=app)])]).save(
        backend=app.backend
    )

    seen_by_celery = CeleryGroup.restore(ours, backend=app.backend, app=app)
    ref = backends.client.restore_group(theirs)
    assert ref is not None
    seen_by_us = opened(ref, access)

    assert [member.id for member in seen_by_celery] == ["a", "inner"]
    assert [member.id for member in seen_by_celery[1]] == ["b"]
    assert isinstance(seen_by_us, GroupResult)
    assert [member.id for member in seen_by_us] == ["a", "inner"]
    assert isinstance(seen_by_us[1], GroupResult)


# RPC


def test_a_celery_client_gets_the_replies_of_an_amqtask_worker(on_rpc: tuple[Rig, Celery]) -> None:
    backends, app = on_rpc
    sent = app.send_task("shop.add", (2, 2), queue=unique("tasks"))
    failing = app.send_task("shop.add", (2, "x"), queue=unique("tasks"))
    outcomes: list[Exception | None] = []
    settled = threading.Semaphore(0)

    def done(error: Exception | None) -> None:
        outcomes.append(error)
        settled.release()

    reply_to = app.backend.oid
    backends.worker.store(replace(report("STARTED"), task_id=sent.id), reply_to=reply_to, done=done)
    backends.worker.store(replace(report(result=4), task_id=sent.id), reply_to=reply_to, done=done)
    failed = report("FAILURE", result=exception_to_dict(Known("bad")), traceback="Traceback: there")
    backends.worker.store(replace(failed, task_id=failing.id), reply_to=reply_to, done=done)
    for _ in range(3):
        assert settled.acquire(timeout=30)

    assert outcomes == [None] * 3
    assert sent.get(timeout=30) == 4
    with pytest.raises(Known, match="bad"):
        failing.get(timeout=30)


def test_an_amqtask_client_gets_the_replies_of_a_celery_worker(on_rpc: tuple[Rig, Celery]) -> None:
    backends, app = on_rpc
    queue = backends.client.reply_to()
    ids = {name: str(uuid.uuid4()) for name in ("done", "failed", "revoked")}
    for task_id in ids.values():
        backends.client.expect(task_id)

    def request(task_id: str) -> Context:
        return Context(id=task_id, reply_to=queue, correlation_id=task_id)

    app.backend.store_result(ids["done"], {"pid": 1}, "STARTED", request=request(ids["done"]))
    app.backend.mark_as_done(ids["done"], {"n": 4}, request=request(ids["done"]))
    app.backend.mark_as_failure(ids["failed"], Known("bad"), traceback="there", request=request(ids["failed"]))
    app.backend.mark_as_revoked(ids["revoked"], "terminated", request=request(ids["revoked"]))

    assert handle(backends, ids["done"]).get(timeout=30) == {"n": 4}
    with pytest.raises(Known, match="bad"):
        handle(backends, ids["failed"]).get(timeout=30)
    with pytest.raises(TaskRevoked, match="terminated"):
        handle(backends, ids["revoked"]).get(timeout=30)
