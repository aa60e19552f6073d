"""States, which report counts, and Celery's JSON form."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core import extended_json
from amqtask.core.state import (
    Progress,
    ResultRef,
    TaskResult,
    from_celery,
    precedence,
    progress_of,
    progress_to_json,
    ref_from_json,
    ref_to_json,
    supersedes,
    to_celery,
)
from amqtask.errors import MalformedMessage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

texts = st.none() | st.text(max_size=20)
refs = st.recursive(
    st.builds(ResultRef, id=st.text(min_size=1, max_size=8)),
    lambda inner: st.builds(
        ResultRef,
        id=st.text(min_size=1, max_size=8),
        parent=st.none() | inner,
        members=st.none() | st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=8,
)
results = st.builds(
    TaskResult,
    task_id=st.text(min_size=1, max_size=20),
    status=st.sampled_from(["RECEIVED", "STARTED", "PROGRESS", "RETRY", "SUCCESS", "FAILURE", "REVOKED", "MINE"]),
    result=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)
    ),
    traceback=texts,
    children=st.lists(refs, max_size=2).map(tuple),
    date_done=st.none() | st.datetimes(timezones=st.just(UTC)),
    parent_id=texts,
    root_id=texts,
    group_id=texts,
    name=texts,
    worker=texts,
    retries=st.integers(0, 10_000),
    queue=texts,
)


def report(status: str, *, retries: int = 0, date_done: datetime | None = None) -> TaskResult:
    return TaskResult(task_id="t", status=status, retries=retries, date_done=date_done)


@pytest.mark.parametrize(
    ("greater", "lesser"),
    [
        (report("SUCCESS"), report("FAILURE")),
        (report("FAILURE"), report("REVOKED")),
        (report("REVOKED"), report("REJECTED")),
        (report("REJECTED"), report("RETRY", retries=1_000_000)),
        (report("STARTED", retries=1), report("RETRY", retries=0)),
        (report("RETRY"), report("PROGRESS")),
        (report("PROGRESS"), report("STARTED")),
        (report("STARTED"), report("RECEIVED")),
        (report("RECEIVED"), report("PENDING")),
        (report("SUCCESS", date_done=NOON), report("SUCCESS", date_done=NOON - timedelta(seconds=1))),
        (report("SUCCESS", date_done=NOON), report("FAILURE", date_done=NOON + timedelta(days=1))),
    ],
    ids=lambda value: f"{value.status}-{value.retries}",
)
def test_a_lesser_report_never_replaces_a_greater(greater: TaskResult, lesser: TaskResult) -> None:
    assert supersedes(greater, lesser)
    assert not supersedes(lesser, greater)


def test_of_two_reports_that_count_the_same_the_last_one_stays() -> None:
    first, second = report("PROGRESS"), report("UPLOADING")

    assert supersedes(second, first)
    assert supersedes(first, second)


def test_any_report_replaces_none() -> None:
    assert supersedes(report("PENDING"), None)


@given(st.permutations([report(status, retries=n) for status in ("STARTED", "RETRY") for n in range(3)]), results)
def test_the_order_in_which_reports_arrive_does_not_matter(arrivals: list[TaskResult], other: TaskResult) -> None:
    kept: TaskResult | None = None
    for each in [*arrivals, other]:
        kept = each if supersedes(each, kept) else kept

    assert kept is not None
    assert precedence(kept) == max(precedence(each) for each in [*arrivals, other])


@given(results)
def test_a_precedence_survives_a_double_and_a_signed_64_bit_integer(result: TaskResult) -> None:
    number = precedence(result)

    assert 0 <= number < 2**53
    assert int(float(number)) == number


@given(results)
def test_a_report_survives_celerys_form_and_json(result: TaskResult) -> None:
    assert from_celery(extended_json.loads(extended_json.dumps(to_celery(result)))) == result


def test_the_form_is_celerys() -> None:
    result = TaskResult(
        task_id="8ba1",
        status="SUCCESS",
        result=4,
        children=(ResultRef(id="id-b"),),
        date_done=NOON,
        group_id="g1",
    )

    assert to_celery(result) == {
        "task_id": "8ba1",
        "status": "SUCCESS",
        "result": 4,
        "traceback": None,
        "children": [[["id-b", None], None]],
        "date_done": "2026-03-01T12:00:00+00:00",
        "group_id": "g1",
    }


def test_a_date_without_a_zone_is_utc_as_older_celery_writes_it() -> None:
    result = from_celery({"task_id": "t", "status": "SUCCESS", "date_done": "2026-03-01T12:00:00"})

    assert result.date_done == NOON


def test_a_date_in_another_zone_is_the_same_instant() -> None:
    result = from_celery({"task_id": "t", "status": "SUCCESS", "date_done": "2026-03-01T14:00:00+02:00"})

    assert result.date_done == NOON.astimezone(timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"task_id": "t"},
        {"task_id": 1, "status": "SUCCESS"},
        {"task_id": "t", "status": "SUCCESS", "children": "c"},
        {"task_id": "t", "status": "SUCCESS", "children": [["a", None], 7]},
        {"task_id": "t", "status": "SUCCESS", "date_done": "yesterday"},
        {"task_id": "t", "status": "SUCCESS", "date_done": 5},
    ],
)
def test_what_is_no_report_is_refused(data: object) -> None:
    with pytest.raises(MalformedMessage):
        from_celery(data)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)))
def test_a_reference_is_read_or_refused(data: object) -> None:
    try:
        ref = ref_from_json(data)
    except MalformedMessage:
        return
    assert ref_from_json(ref_to_json(ref)) == ref


@given(refs)
def test_references_survive_celerys_form(ref: ResultRef) -> None:
    assert ref_from_json(ref_to_json(ref)) == ref


def test_progress_is_told_from_other_states() -> None:
    progress = Progress(current=3, total=10, message="rows")
    told = TaskResult(task_id="t", status="PROGRESS", result=progress_to_json(progress))

    assert progress_of(told) == progress
    assert progress_of(TaskResult(task_id="t", status="STARTED", result=progress_to_json(progress))) is None
    assert progress_of(TaskResult(task_id="t", status="PROGRESS", result={"done": 3})) is None
