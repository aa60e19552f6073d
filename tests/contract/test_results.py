"""The laws of `results/base.py`, over every backend and the real servers that this machine has."""

import functools
import operator
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from amqtask.core.failure import exception_to_dict
from amqtask.core.state import UNKNOWN, ResultRef, TaskResult, precedence
from amqtask.errors import BackendFailed
from amqtask.result import AsyncResult, GroupResult
from amqtask.results.access import ResultAccess
from amqtask.results.codec import ResultCodec
from tests.support.eventually import eventually
from tests.support.result_rigs import Heard, Rig, report, rig
from tests.support.stores import (
    cassandra_server,
    django_database,
    elasticsearch_server,
    mariadb_url,
    memcached_server,
    mongodb_server,
    postgresql_url,
    redis_server,
)

MakeRig = Callable[..., Rig]

KINDS = {
    "rpc": "rpc",
    "rabbitmq": "rabbitmq",
    "memory": "memory",
    "redis": "redis",
    "postgresql": "sql",
    "mariadb": "sql",
    "sqlite": "sql",
    "memcached": "memcached",
    "filesystem": "filesystem",
    "django": "django",
    "mongodb": "mongodb",
    "elasticsearch": "elasticsearch",
    "cassandra": "cassandra",
}


@contextmanager
def store_url(name: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    servers = {
        "redis": redis_server,
        "memcached": memcached_server,
        "mongodb": mongodb_server,
        "elasticsearch": elasticsearch_server,
        "cassandra": cassandra_server,
    }
    if name in servers:
        with servers[name]() as url:
            yield url
    elif name in ("rpc", "rabbitmq"):
        yield request.getfixturevalue("module_vhost")
    elif name == "postgresql":
        yield postgresql_url()
    elif name == "mariadb":
        yield mariadb_url()
    elif name == "sqlite":
        yield f"sqlite:///{folder / 'results.db'}"
    elif name == "django":
        django_database(folder / "django.db")
        yield ""
    else:
        yield str(folder / "results")


@pytest.fixture(scope="module", params=list(KINDS))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """A kind of backend and where its store is."""
    folder = tmp_path_factory.mktemp(request.param)
    with store_url(request.param, request, folder) as url:
        yield KINDS[request.param], url, folder


@pytest.fixture
def make_rig(store: tuple[str, str, Path]) -> Iterator[MakeRig]:
    with ExitStack() as cleanup:

        def make(**changes: object) -> Rig:
            return cleanup.enter_context(rig(*store, **changes))

        yield make


@pytest.fixture
def backends(make_rig: MakeRig) -> Rig:
    return make_rig()


def final(update: object) -> bool:
    return isinstance(update, TaskResult) and update.is_final


def test_a_stored_report_is_found_by_its_id_with_all_that_it_says(backends: Rig) -> None:
    full = report(
        result={"total": [1, 2.5, None, "ü"]},
        children=(ResultRef(id="c1"), ResultRef(id="g1", members=(ResultRef(id="m1"),))),
        parent_id="p1",
        root_id="r1",
        group_id="g0",
        name="shop.add",
        worker="w@host",
        retries=2,
        queue="orders",
    )

    assert backends.put(full) is None

    assert eventually(lambda: backends.client.latest(full.task_id)) == full


def test_a_failure_keeps_its_exception_as_data_and_its_traceback(backends: Rig) -> None:
    failed = report("FAILURE", result=exception_to_dict(ValueError("bad", 7)), traceback="Traceback …\nValueError")

    backends.put(failed)

    handle: AsyncResult[object] = AsyncResult(failed.task_id, ResultAccess(backend=backends.client))
    with pytest.raises(ValueError, match="bad") as caught:
        handle.get(timeout=30)
    assert caught.value.args == ("bad", 7)
    assert "Traceback …" in str(caught.value.__cause__)


def test_a_watcher_hears_of_a_report_that_comes_later(backends: Rig) -> None:
    later, heard = report(result=4), Heard()
    backends.client.expect(later.task_id)
    backends.client.watch(later.task_id, heard)

    backends.put(later)

    assert heard.until(final) == later


def test_a_watcher_hears_of_a_report_that_was_there_before(backends: Rig) -> None:
    early, heard = report(result=4), Heard()
    backends.put(early)
    eventually(lambda: backends.client.latest(early.task_id))

    backends.client.watch(early.task_id, heard)

    assert heard.until(final) == early


def test_a_backend_that_can_push_does_not_wait_for_the_next_look(make_rig: MakeRig) -> None:
    backends = make_rig(poll_interval=600.0)
    if not backends.pushes:
        pytest.skip("this store cannot push")
    task, heard = report("STARTED"), Heard()
    backends.client.expect(task.task_id)
    backends.client.watch(task.task_id, heard)
    backends.put(task)
    heard.until(lambda update: update == task)

    for number in range(3):
        step = replace(task, status="PROGRESS", result={"current": number})
        backends.put(step)
        heard.until(functools.partial(operator.eq, step))


def test_a_second_watcher_of_the_same_task_hears_of_what_the_first_was_told(backends: Rig) -> None:
    early, first, second = report(result=4), Heard(), Heard()
    backends.put(early)
    backends.client.watch(early.task_id, first)
    first.until(final)

    backends.client.watch(early.task_id, second)

    assert second.until(final) == early


def test_a_watcher_that_unsubscribed_hears_nothing_more(backends: Rig) -> None:
    task, left, stays = report("STARTED"), Heard(), Heard()
    backends.client.expect(task.task_id)
    unsubscribe = backends.client.watch(task.task_id, left)
    backends.client.watch(task.task_id, stays)
    unsubscribe()
    while not left.updates.empty():
        left.updates.get()

    backends.put(replace(task, status="SUCCESS", date_done=datetime.now(UTC)))

    stays.until(final)
    assert left.updates.empty()


def test_a_final_state_is_not_overwritten_by_an_older_one(backends: Rig) -> None:
    done = report(result=1)
    backends.put(done)

    assert backends.put(replace(done, status="STARTED", date_done=None)) is None
    assert backends.put(replace(done, status="RETRY", retries=3, date_done=None)) is None
    assert backends.put(replace(done, status="FAILURE", result=None)) is None
    earlier = done.date_done - timedelta(seconds=5) if done.date_done else None
    assert backends.put(replace(done, result="older", date_done=earlier)) is None

    marker = report()
    backends.put(marker)
    eventually(lambda: backends.client.latest(marker.task_id))
    assert backends.client.latest(done.task_id) == done


def test_the_next_attempt_replaces_the_states_of_the_one_before(backends: Rig) -> None:
    task = report("RETRY", retries=0)
    backends.put(task)

    again = replace(task, status="STARTED", retries=1)
    backends.put(again)

    eventually(lambda: backends.client.latest(task.task_id) == again)


def test_of_writers_that_race_the_greatest_report_wins(backends: Rig) -> None:
    now = datetime.now(UTC)
    task = report("STARTED")
    reports = [replace(task, status="PROGRESS", result={"current": number}) for number in range(10)]
    reports += [replace(task, status="RETRY", retries=number) for number in range(10)]
    reports += [
        replace(task, status=status, result=f"{status} {number}", date_done=now + timedelta(milliseconds=number))
        for status in ("SUCCESS", "FAILURE", "REVOKED")
        for number in range(10)
    ]
    greatest = max(reports, key=precedence)
    others = [backends.worker, backends.client] if backends.is_shared else [backends.worker]
    start = threading.Barrier(4)
    came = threading.Semaphore(0)
    reply_to = backends.client.reply_to()
    backends.client.expect(task.task_id)

    def write(seed: int) -> None:
        shuffled = reports[:]
        random.Random(seed).shuffle(shuffled)
        start.wait()
        for each in shuffled:
            others[seed % len(others)].store(each, reply_to=reply_to, done=lambda _: came.release())

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(4 * len(reports)):
        assert came.acquire(timeout=60)

    assert eventually(lambda: backends.client.latest(task.task_id) == greatest)
    if backends.is_shared:
        assert backends.another().latest(task.task_id) == greatest


def test_each_of_many_reports_is_settled_once_and_found(backends: Rig) -> None:
    reports = [report(result=number) for number in range(500)]

    assert backends.put_all(reports) == [None] * 500

    access = ResultAccess(backend=backends.client)
    group = GroupResult(AsyncResult(each.task_id, access) for each in reports)
    assert group.get(timeout=60) == list(range(500))


def test_what_is_forgotten_is_not_found(backends: Rig) -> None:
    task = report()
    backends.put(task)
    eventually(lambda: backends.client.latest(task.task_id))

    backends.client.forget(task.task_id)

    left = backends.client.latest(task.task_id)
    assert left is None or left.status == UNKNOWN


def test_an_id_that_nobody_stored_is_pending_or_known_to_be_unknown(backends: Rig) -> None:
    found = backends.client.latest("never-published")

    assert found is None or found.status == UNKNOWN


def test_a_group_is_saved_restored_and_deleted(backends: Rig) -> None:
    if not backends.keeps_groups:
        pytest.skip("this backend keeps no groups")
    group = ResultRef(
        id=f"group-{random.getrandbits(64)}",
        parent=ResultRef(id="p"),
        members=(ResultRef(id="a"), ResultRef(id="b", members=(ResultRef(id="c"),))),
    )

    backends.client.save_group(group)
    restored = backends.client.restore_group(group.id)
    backends.client.delete_group(group.id)

    assert restored == group
    assert backends.client.restore_group(group.id) is None


def test_a_large_result_comes_whole_compressed_and_not(make_rig: MakeRig) -> None:
    text = "".join(random.Random(1).choices("abcdefgh", k=700_000))
    for codec in (ResultCodec(), ResultCodec(compression="gzip"), ResultCodec(serializer="pickle", accept=("pickle",))):
        backends = make_rig(codec=codec)
        large = report(result=text)

        assert backends.put(large) is None

        assert eventually(lambda: backends.client.latest(large.task_id)) == large  # noqa: B023 - asked here only


def test_a_compressed_final_state_is_not_overwritten_either(make_rig: MakeRig) -> None:
    backends = make_rig(codec=ResultCodec(compression="gzip", compress_over=1))
    done = report(result="x" * 100)
    backends.put(done)
    backends.put(replace(done, status="STARTED", date_done=None))

    marker = report()
    backends.put(marker)
    eventually(lambda: backends.client.latest(marker.task_id))
    assert backends.client.latest(done.task_id) == done


def test_a_return_value_that_has_no_form_is_reported_as_a_failure(backends: Rig) -> None:
    odd = report(result=object())
    if backends.kind == "memory":
        pytest.skip("the memory backend keeps values as they are")

    assert backends.put(odd) is None

    kept = eventually(lambda: backends.client.latest(odd.task_id))
    assert kept.status == "FAILURE"
    assert "object" in str(kept.result)


def test_results_expire(make_rig: MakeRig) -> None:
    backends = make_rig(expires=1.0)
    if not backends.is_shared:
        pytest.skip("nothing expires here: results live in the client's memory")
    task = report()
    backends.put(task)

    other = backends.another()

    assert other.latest(task.task_id) == task
    eventually(lambda: other.latest(task.task_id) is None)


def test_a_process_that_did_not_send_the_task_looks_it_up_and_waits_for_it(backends: Rig) -> None:
    if not backends.is_shared:
        pytest.skip("only the sender sees results of this backend")
    other, early, later = backends.another(), report(result=1), report(result=2)
    heard_early, heard_later = Heard(), Heard()
    backends.put(early)

    assert other.latest(early.task_id) == early
    other.watch(early.task_id, heard_early)
    assert heard_early.until(final) == early
    other.watch(later.task_id, heard_later)
    backends.put(later)
    assert heard_later.until(final) == later
    backends.put(replace(later, status="STARTED", date_done=None))
    assert other.latest(later.task_id) == later


def test_closing_ends_the_wait(backends: Rig) -> None:
    heard = Heard()
    backends.client.expect("t-1")
    backends.client.watch("t-1", heard)

    backends.client.close()

    assert isinstance(heard.until(lambda update: not isinstance(update, TaskResult)), BackendFailed)


def test_closing_twice_is_no_error(backends: Rig) -> None:
    backends.put(report())
    backends.worker.close()
    backends.worker.close()


def test_progress_is_followed_until_the_end(backends: Rig) -> None:
    task = report("STARTED")
    backends.client.expect(task.task_id)
    handle: AsyncResult[object] = AsyncResult(task.task_id, ResultAccess(backend=backends.client))
    seen: list[str] = []

    def follow() -> None:
        seen.extend(update.status for update in handle.updates(timeout=60))

    follower = threading.Thread(target=follow)
    follower.start()
    backends.put(task)
    eventually(lambda: "STARTED" in seen)
    backends.put(replace(task, status="PROGRESS", result={"current": 1, "total": 2, "message": ""}))
    eventually(lambda: "PROGRESS" in seen)
    backends.put(replace(task, status="SUCCESS", result=9, date_done=datetime.now(UTC)))
    follower.join(60)

    assert seen == ["STARTED", "PROGRESS", "SUCCESS"]
