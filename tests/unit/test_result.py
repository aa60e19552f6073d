"""Handles on results, on the memory backend and on those that know or keep nothing."""

import asyncio
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from amqtask.app import App
from amqtask.context import Context, enter, leave
from amqtask.core.failure import exception_to_dict
from amqtask.core.state import Progress, ResultRef, TaskResult, progress_to_json
from amqtask.errors import ConfigError, ResultTimeout, ResultUnavailable, TaskFailed, TaskRevoked
from amqtask.joining import allow_join_result
from amqtask.result import AsyncResult, GroupResult, Handle, handle
from amqtask.results import BACKENDS, load_backend
from amqtask.results.access import ResultAccess
from amqtask.results.codec import Payload, ResultCodec
from amqtask.results.mailbox import Mailbox
from amqtask.results.memory import MemoryBackend
from amqtask.results.null import NullBackend
from amqtask.resultset import ResultSet

DONE = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def access(backend: MemoryBackend) -> ResultAccess:
    return ResultAccess(backend=backend)


def put(backend: MemoryBackend, task_id: str, status: str = "SUCCESS", result: object = None, **fields: object) -> None:
    report = TaskResult(task_id=task_id, status=status, result=result, **fields)  # type: ignore[arg-type]  # by name
    if report.is_final:
        report = replace(report, date_done=DONE)
    outcome: list[Exception | None] = []
    backend.store(report, reply_to=None, done=outcome.append)
    assert outcome == [None]


def put_failure(backend: MemoryBackend, task_id: str, error: Exception) -> None:
    put(backend, task_id, "FAILURE", exception_to_dict(error), traceback="Traceback: there")


def group(access: ResultAccess, *ids: str) -> GroupResult:
    return GroupResult([AsyncResult(each, access) for each in ids], id="g")


@contextmanager
def inside_task(**fields: bool) -> Iterator[None]:
    token = enter(Context(id="t0", task="shop.outer", called_directly=False, **fields))
    try:
        yield
    finally:
        leave(token)


# One task


def test_a_success_is_its_value(backend: MemoryBackend, access: ResultAccess) -> None:
    result: AsyncResult[int] = AsyncResult("a", access)
    put(backend, "a", result=4, name="shop.add")

    assert result.get() == 4
    assert (result.state, result.status, result.result, result.info) == ("SUCCESS", "SUCCESS", 4, 4)
    assert result.ready()
    assert result.successful()
    assert not result.failed()
    assert result.name == "shop.add"


def test_a_failure_raises_its_exception_with_the_remote_traceback(backend: MemoryBackend, access: ResultAccess) -> None:
    result: AsyncResult[int] = AsyncResult("a", access)
    put_failure(backend, "a", ValueError("bad"))

    with pytest.raises(ValueError, match="bad") as caught:
        result.get()

    assert "Traceback: there" in str(caught.value.__cause__)
    assert result.failed()
    assert result.traceback == "Traceback: there"
    assert isinstance(result.result, ValueError)


def test_a_failure_is_returned_where_it_is_not_to_be_raised(backend: MemoryBackend, access: ResultAccess) -> None:
    put_failure(backend, "a", ValueError("bad"))

    assert isinstance(AsyncResult("a", access).get(propagate=False), ValueError)


def test_revoked_and_rejected_tasks_raise(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "revoked", "REVOKED", exception_to_dict(TaskRevoked("by hand")))
    put(backend, "rejected", "REJECTED", "poison")

    with pytest.raises(TaskRevoked, match="by hand"):
        AsyncResult("revoked", access).get()
    with pytest.raises(TaskFailed, match="rejected its message"):
        AsyncResult("rejected", access).get()


def test_a_result_that_does_not_come_times_out(access: ResultAccess) -> None:
    with pytest.raises(ResultTimeout, match="no result of a within 0 s"):
        AsyncResult("a", access).get(timeout=0)


def test_a_pending_result_is_not_ready(access: ResultAccess) -> None:
    result: AsyncResult[int] = AsyncResult("a", access)

    assert (result.state, result.result, result.ready(), result.failed()) == ("PENDING", None, False, False)


def test_a_custom_state_shows_what_it_carries(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a", "UPLOADING", {"file": 3})

    result: AsyncResult[int] = AsyncResult("a", access)

    assert (result.state, result.info) == ("UPLOADING", {"file": 3})


def test_asking_an_ignored_result_says_so_at_once(access: ResultAccess) -> None:
    result: AsyncResult[int] = AsyncResult("a", access, ignored=True)

    for ask in (result.get, result.ready, result.report, lambda: result.state, lambda: next(result.updates())):
        with pytest.raises(ResultUnavailable, match="ignores its result"):
            ask()


def test_a_backend_that_keeps_nothing_says_so_at_once() -> None:
    access = ResultAccess(backend=NullBackend())

    for ask in (AsyncResult("a", access).get, AsyncResult("a", access).ready, group(access, "a").get):
        with pytest.raises(ResultUnavailable, match=r"results\.backend"):
            ask()


def test_the_app_makes_the_value_by_the_tasks_name(backend: MemoryBackend) -> None:
    access = ResultAccess(backend=backend, convert=lambda task, value: (task, value))
    put(backend, "a", result=[1, 2])
    put(backend, "b", result=3, name="tasks.told")

    assert AsyncResult("a", access, name="tasks.known").get() == ("tasks.known", [1, 2])
    assert AsyncResult("a", access, name="tasks.known").result == ("tasks.known", [1, 2])
    assert AsyncResult("b", access).get() == ("tasks.told", 3)


def test_a_forgotten_result_is_pending_again(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a")
    result: AsyncResult[None] = AsyncResult("a", access)
    result.get()

    result.forget()

    assert result.state == "PENDING"


def test_revoking_is_the_apps_work(backend: MemoryBackend) -> None:
    revoked: list[tuple[str, bool, str]] = []
    access = ResultAccess(backend=backend, revoke=lambda *arguments: revoked.append(arguments))

    AsyncResult("a", access).revoke()
    group(access, "b", "c").revoke(terminate=True, signal="SIGKILL")

    assert revoked == [("a", False, "SIGTERM"), ("b", True, "SIGKILL"), ("c", True, "SIGKILL")]
    with pytest.raises(ResultUnavailable):
        AsyncResult("a", ResultAccess(backend=backend)).revoke()


def test_revoking_the_end_of_a_chain_revokes_what_is_before_it(backend: MemoryBackend) -> None:
    revoked: list[str] = []
    access = ResultAccess(backend=backend, revoke=lambda task_id, *how: revoked.append(task_id))
    first = AsyncResult("a", access)
    header = GroupResult([AsyncResult("b", access), AsyncResult("c", access)], id="g", parent=first)

    AsyncResult("d", access, parent=header).revoke()

    assert revoked == ["d", "b", "c", "a"]


def test_handles_of_one_id_are_equal(access: ResultAccess) -> None:
    assert AsyncResult("a", access) == AsyncResult("a", access)
    assert len({AsyncResult("a", access), AsyncResult("a", access), AsyncResult("b", access)}) == 2


# In chains


def test_a_failure_before_it_in_a_chain_ends_the_wait(backend: MemoryBackend, access: ResultAccess) -> None:
    first: AsyncResult[object] = AsyncResult("first", access)
    second: AsyncResult[object] = AsyncResult("second", access, parent=first)
    third: AsyncResult[object] = AsyncResult("third", access, parent=second)
    put_failure(backend, "first", ValueError("bad"))

    with pytest.raises(ValueError, match="bad"):
        third.get(timeout=0)

    assert third.state == "PENDING"


def test_a_success_before_it_in_a_chain_does_not_end_the_wait(backend: MemoryBackend, access: ResultAccess) -> None:
    first: AsyncResult[object] = AsyncResult("first", access)
    put(backend, "first", result=1)

    with pytest.raises(ResultTimeout):
        AsyncResult("second", access, parent=first).get(timeout=0)


def test_children_are_collected_breadth_first(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "root", result=0, children=(ResultRef(id="a"), ResultRef(id="g", members=(ResultRef(id="b"),))))
    put(backend, "a", result=1, children=(ResultRef(id="c"),))
    put(backend, "b", result=2)
    put(backend, "c", result=3)

    root: AsyncResult[int] = AsyncResult("root", access)

    assert [(result.id, value) for result, value in root.collect()] == [("root", 0), ("a", 1), ("b", 2), ("c", 3)]
    assert isinstance(root.children[1], GroupResult)


def test_a_reference_opens_the_same_handles_again(access: ResultAccess) -> None:
    parent: AsyncResult[object] = AsyncResult("p", access)
    nested: list[Handle] = [AsyncResult("a", access), group(access, "b", "c")]
    whole = GroupResult(nested, id="outer", parent=parent)

    opened = handle(whole.ref(), access)

    assert opened == whole
    assert opened.as_tuple() == [
        ["outer", [["p", None], None]],
        [[["a", None], None], [["g", None], [[["b", None], None], [["c", None], None]]]],
    ]


# Callbacks and progress


def test_then_is_called_once_with_the_result(backend: MemoryBackend, access: ResultAccess) -> None:
    called: list[str] = []
    result: AsyncResult[int] = AsyncResult("a", access)
    result.then(lambda ready: called.append(f"then {ready.get()}"), on_error=lambda _: called.append("error"))

    put(backend, "a", "STARTED")
    put(backend, "a", result=4)
    put(backend, "a", result=4)

    assert called == ["then 4"]
    result.then(lambda ready: called.append(f"again {ready.get()}"))
    assert called == ["then 4", "again 4"]


def test_on_error_is_called_when_the_task_failed(backend: MemoryBackend, access: ResultAccess) -> None:
    called: list[str] = []
    AsyncResult("a", access).then(lambda _: called.append("then"), on_error=lambda _: called.append("error"))

    put_failure(backend, "a", ValueError())

    assert called == ["error"]


def test_a_callback_that_raises_does_not_disturb_the_others(
    backend: MemoryBackend, access: ResultAccess, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    def fail(_: AsyncResult[object]) -> None:
        raise RuntimeError("mine")

    AsyncResult("a", access).then(fail)
    AsyncResult("a", access).then(lambda _: called.append("second"))
    put(backend, "a")

    assert called == ["second"]
    assert "a callback of a result failed" in caplog.text


def test_progress_comes_until_the_end(backend: MemoryBackend, access: ResultAccess) -> None:
    steps = AsyncResult("a", access).progress(timeout=30)
    put(backend, "a", "PROGRESS", progress_to_json(Progress(current=1, total=2)))

    assert next(steps) == Progress(current=1, total=2)
    put(backend, "a", "PROGRESS", progress_to_json(Progress(current=2, total=2, message="done")))
    put(backend, "a")
    assert list(steps) == [Progress(current=2, total=2, message="done")]


def test_updates_that_come_twice_or_late_are_shown_once(backend: MemoryBackend, access: ResultAccess) -> None:
    updates = AsyncResult("a", access).updates(timeout=30)
    put(backend, "a", "PROGRESS", 1)
    assert next(updates).status == "PROGRESS"

    put(backend, "a", "PROGRESS", 1)
    put(backend, "a", "STARTED")
    put(backend, "a", result=2)

    assert [update.status for update in updates] == ["SUCCESS"]


# Groups


def test_a_group_gives_values_in_its_order(backend: MemoryBackend, access: ResultAccess) -> None:
    whole = GroupResult([AsyncResult("a", access), group(access, "b", "c")], id="outer")
    for number, task_id in enumerate("cab"):
        put(backend, task_id, result=number)

    assert whole.get() == [1, [2, 0]]
    assert whole.join() == [1, [2, 0]]
    assert whole.completed_count() == 2
    assert whole.ready()
    assert whole.successful()
    assert not whole.waiting()
    assert len(whole) == 2
    assert whole[0].id == "a"
    assert [member.id for member in whole] == ["a", "g"]


def test_an_empty_group_is_an_empty_list(access: ResultAccess) -> None:
    called: list[GroupResult] = []
    empty = GroupResult([], id="g")

    assert empty.get(timeout=0) == []
    assert list(empty.as_completed(timeout=0)) == []
    assert empty.then(called.append) is called[0]


def test_a_failed_member_is_raised_although_others_are_not_over(backend: MemoryBackend, access: ResultAccess) -> None:
    whole = group(access, "a", "b", "c")
    put_failure(backend, "b", ValueError("bad"))

    with pytest.raises(ValueError, match="bad"):
        whole.get(timeout=0)

    assert whole.failed()
    assert whole.waiting()


def test_exceptions_take_their_members_places_where_they_are_not_to_be_raised(
    backend: MemoryBackend, access: ResultAccess
) -> None:
    put(backend, "a", result=1)
    put_failure(backend, "b", ValueError("bad"))

    values = group(access, "a", "b").get(propagate=False)

    assert values[0] == 1
    assert isinstance(values[1], ValueError)


def test_a_group_times_out_as_a_whole(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a")

    with pytest.raises(ResultTimeout, match="no result of g"):
        group(access, "a", "b").get(timeout=0)


def test_members_come_in_the_order_in_which_they_end(backend: MemoryBackend, access: ResultAccess) -> None:
    whole = GroupResult([AsyncResult("a", access), group(access, "b", "c"), AsyncResult("d", access)], id="outer")
    arrivals = iter(whole.as_completed(timeout=30))
    put(backend, "d")
    assert next(arrivals).id == "d"

    put(backend, "b")
    put(backend, "a")
    put_failure(backend, "c", ValueError())

    assert [member.id for member in arrivals] == ["a", "g"]


def test_then_of_a_group_is_called_when_all_are_over(backend: MemoryBackend, access: ResultAccess) -> None:
    called: list[GroupResult] = []
    whole = group(access, "a", "b").then(called.append)

    put(backend, "a")
    assert called == []
    put(backend, "b")
    assert called == [whole]


def test_a_saved_group_is_restored_by_its_id() -> None:
    with App("shop", config={"results": {"backend": "memory"}}) as app:
        whole = GroupResult([app.AsyncResult("a"), GroupResult([app.AsyncResult("b")], id="inner")], id="g")
        whole.save()

        restored = GroupResult.restore("g", app=app)

        assert restored == whole
        assert [member.id for member in restored or ()] == ["a", "inner"]
        whole.delete()
        assert GroupResult.restore("g", app=app) is None
        with pytest.raises(ResultUnavailable, match="no members"):
            GroupResult(id="empty").save()


def test_results_of_any_calls_are_waited_for_together(backend: MemoryBackend, access: ResultAccess) -> None:
    members: list[AsyncResult[object]] = [AsyncResult(each, access) for each in "ab"]
    together = ResultSet([*members, group(access, "c")])
    called: list[ResultSet] = []
    together.then(called.append)

    put(backend, "a", result=1)
    put(backend, "b", result=2)
    assert (together.completed_count(), together.waiting(), called) == (2, True, [])
    with pytest.raises(ResultTimeout, match="a set of 3 results"):
        together.get(timeout=0)

    put(backend, "c", result=3)
    assert together.get(timeout=0) == [1, 2, [3]]
    assert (together.ready(), called) == (True, [together])
    assert ResultSet([members[0], members[0]]).get(timeout=0) == [1, 1]


# Inside tasks


def test_waiting_inside_a_task_is_refused_with_what_to_do_instead(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a", result=4)

    with inside_task():
        for wait in (AsyncResult("a", access).get, AsyncResult("a", access).wait, group(access, "a").get):
            with pytest.raises(RuntimeError, match=r"shop\.outer waits .* Use a chain"):
                wait()


def test_waiting_inside_a_task_that_means_it_is_allowed(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a", result=4)

    with inside_task():
        with allow_join_result():
            assert AsyncResult("a", access).get() == 4
        assert AsyncResult("a", access).get(disable_sync_subtasks=False) == 4
        with pytest.raises(RuntimeError):
            AsyncResult("a", access).get()


def test_a_task_that_is_called_like_a_function_may_wait(backend: MemoryBackend, access: ResultAccess) -> None:
    put(backend, "a", result=4)

    with inside_task(is_eager=True):
        assert AsyncResult("a", access).get() == 4


# Event loops


def test_a_result_can_be_awaited(backend: MemoryBackend, access: ResultAccess) -> None:
    async def main() -> tuple[object, object]:
        result: AsyncResult[int] = AsyncResult("a", access)
        waiting = asyncio.create_task(result.aget(timeout=30))
        await asyncio.sleep(0)
        put(backend, "a", result=4)
        return await waiting, await result

    assert asyncio.run(main()) == (4, 4)


def test_an_awaited_failure_is_raised_and_a_late_one_times_out(backend: MemoryBackend, access: ResultAccess) -> None:
    put_failure(backend, "a", ValueError("bad"))

    with pytest.raises(ValueError, match="bad"):
        asyncio.run(AsyncResult("a", access).aget())
    with pytest.raises(ResultTimeout):
        asyncio.run(AsyncResult("b", access).aget(timeout=0))
    with pytest.raises(ResultTimeout):
        asyncio.run(group(access, "b").aget(timeout=0))


def test_groups_are_awaited_and_iterated_over_as_they_end(backend: MemoryBackend, access: ResultAccess) -> None:
    async def main() -> tuple[list[str], list[object]]:
        whole = group(access, "a", "b", "c")
        order: list[str] = []
        put(backend, "c", result=3)
        async for member in whole.as_completed(timeout=30):
            order.append(member.id)
            following = {"c": "a", "a": "b"}.get(member.id)
            if following is not None:
                put(backend, following, result=1)
        return order, await whole

    assert asyncio.run(main()) == (["c", "a", "b"], [1, 1, 3])


def test_progress_is_iterated_over_in_an_event_loop(backend: MemoryBackend, access: ResultAccess) -> None:
    async def main() -> list[Progress]:
        put(backend, "a", "PROGRESS", progress_to_json(Progress(current=1)))
        seen: list[Progress] = []
        async for progress in AsyncResult("a", access).aprogress(timeout=30):
            seen.append(progress)
            put(backend, "a")
        return seen

    assert asyncio.run(main()) == [Progress(current=1)]


def test_a_wait_that_is_cancelled_leaves_no_watcher(backend: MemoryBackend, access: ResultAccess) -> None:
    async def main() -> None:
        waiting = asyncio.create_task(AsyncResult("a", access).aget())
        await asyncio.sleep(0)
        assert len(backend._watchers) == 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())

    assert len(backend._watchers) == 0


def test_a_wait_that_times_out_leaves_no_watcher(backend: MemoryBackend, access: ResultAccess) -> None:
    with pytest.raises(ResultTimeout):
        group(access, "a", "b").get(timeout=0)

    assert len(backend._watchers) == 0


# The mailbox of replies


def reply(task_id: str, status: str = "SUCCESS", result: object = None) -> Payload:
    return ResultCodec().encode(TaskResult(task_id=task_id, status=status, result=result))


def test_the_mailbox_drops_the_oldest_when_it_is_full() -> None:
    mailbox = Mailbox(ResultCodec(), keep=20_000)
    for number in range(1000):
        mailbox.expect(f"t{number}")
        mailbox.put(f"t{number}", reply(f"t{number}", result="x" * 100))

    assert mailbox.size <= 20_000
    newest, oldest = mailbox.latest("t999"), mailbox.latest("t0")
    assert newest is not None
    assert newest.result == "x" * 100
    assert oldest is not None
    assert oldest.status == "UNKNOWN"


def test_the_mailbox_keeps_the_greatest_of_several_replies() -> None:
    mailbox = Mailbox(ResultCodec(), keep=10**6)
    for status in ("STARTED", "SUCCESS", "STARTED"):
        mailbox.put("t", reply("t", status))

    kept = mailbox.latest("t")

    assert kept is not None
    assert kept.status == "SUCCESS"
    mailbox.forget("t")
    assert mailbox.size == 0


def test_the_mailbox_tells_what_is_expected_from_what_is_unknown() -> None:
    mailbox = Mailbox(ResultCodec(), keep=10**6)
    mailbox.expect("mine")

    other = mailbox.latest("other")

    assert mailbox.latest("mine") is None
    assert other is not None
    assert other.status == "UNKNOWN"


# The table of backends


def test_an_unknown_backend_is_refused_with_the_names_of_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown result backend 'redsi'.*redis"):
        load_backend("redsi")


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_every_module_in_the_table_makes_a_backend(name: str) -> None:
    # Read, not imported: some clients import half the world, and Django wants a project.
    spec = importlib.util.find_spec(BACKENDS[name][0])

    assert spec is not None
    assert spec.origin is not None
    assert "\ndef create(setup: BackendSetup) -> " in Path(spec.origin).read_text()


def test_celerys_names_of_backends_are_understood() -> None:
    assert load_backend("disabled") is load_backend("null")
    assert load_backend("db") is load_backend("sql")
