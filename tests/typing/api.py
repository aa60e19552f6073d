"""What type checkers make of the public names. Checked by `make check`, never run."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

from amqtask import App, AsyncResult, BoundSignature, Context, GroupResult, ResultSet, Task, current_task, group

app = App("typing")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="mail.send", max_retries=5)
def send_mail(to: str, *, urgent: bool = False) -> None: ...


@app.task(bind=True, queue="hi")
def attempt(self: Task[[str], int], url: str) -> int:
    assert_type(self.request, Context)
    raise self.retry(countdown=3)


class Logged(Task[..., Any]):
    """A base class of tasks."""


@app.task(base=Logged)
def logged(text: str) -> str:
    return text


def tasks_keep_their_signatures() -> None:
    assert_type(add(1, y=2), int)
    assert_type(add.delay(1), AsyncResult[int])
    assert_type(add.delay(1).get(timeout=3), int)
    assert_type(add.apply_async((1, 2), countdown=3.5, queue="lo"), AsyncResult[int])
    assert_type(send_mail.delay("a@b.c", urgent=True), AsyncResult[None])
    assert_type(logged.delay("x").get(), str)
    assert_type(add.s(1), BoundSignature[AsyncResult[int]])
    assert_type((add.s(1) | add.s(2)).delay().get(), int)
    assert_type(group(add.s(1)).delay(), GroupResult)


def a_bound_task_is_called_without_itself() -> None:
    assert_type(attempt("u"), int)
    assert_type(attempt.delay("u").get(), int)


def wrong_calls_are_errors() -> None:
    add.delay("1")  # type: ignore[arg-type]
    add.delay()  # type: ignore[call-arg]
    add(1, z=2)  # type: ignore[call-arg]
    send_mail.delay("a@b.c", True)  # type: ignore[call-arg]
    attempt.delay()  # type: ignore[call-arg]
    add.apply_async((1,), countdwn=1)  # type: ignore[call-arg]
    add.apply_async((1,), priority="high")  # type: ignore[arg-type]


def what_is_sent_by_name_is_not_known() -> None:
    assert_type(app.send_task("other.task", ["x"]), AsyncResult[Any])
    assert_type(app.AsyncResult("id"), AsyncResult[Any])


def batches_and_the_running_task() -> None:
    with app.batch() as batch:
        assert_type(batch.failures, dict[str, Exception])
    assert_type(current_task(), Task[..., Any] | None)


def results_are_gathered() -> None:
    calls = [add.delay(n) for n in range(3)]
    assert_type(ResultSet(calls).get(timeout=3), list[object])
    assert_type(GroupResult([*calls, group(add.s(1)).delay()]).completed_count(), int)
    assert_type(GroupResult.restore("prices", app=app), GroupResult | None)


async def results_are_awaited() -> None:
    assert_type(await add.delay(1), int)
    assert_type(await add.delay(1).aget(timeout=3), int)
    updates = add.delay(1).aupdates()
    assert isinstance(updates, AsyncIterator)


def a_result_of_a_narrower_type_is_one_of_a_wider(result: AsyncResult[bool]) -> AsyncResult[int]:
    return result
