"""Canvases: what is sent first, ids and families, and random ones against plain Python, run eagerly."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask import App, BoundSignature, ChordError, Signature, chain, chord, group, signature
from amqtask.core import extended_json
from amqtask.core.canvas import freeze
from amqtask.core.plan import Call, Join, Step, membership, plan
from amqtask.core.rest import parked
from amqtask.errors import TaskError
from amqtask.launch import MOST_REPLACED

app = App("canvas", config={"queues": {"work": {}}, "tasks": {"default_queue": "work"}})
heard: list[object] = []
parking = App(
    "parking", config={"queues": {"work": {}}, "tasks": {"default_queue": "work"}, "workflows": {"inline": 0}}
)


@app.task(name="inc")
def inc(value: object, by: int = 1) -> object:
    return [inc(one, by) for one in value] if isinstance(value, list) else value + by  # type: ignore[operator]


@app.task(name="total")
def total(value: object) -> int:
    return sum(total(one) for one in value) if isinstance(value, list) else value  # type: ignore[return-value]


@app.task(name="fail")
def fail(value: object) -> None:
    raise ValueError("no luck")


@app.task(name="hear")
def hear(value: object) -> None:
    heard.append(value)


for task in (inc, total, fail, hear):
    parking.task(name=task.name)(task.run)


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    heard.clear()
    with app.eager():
        yield


# Random canvases, each with what plain Python makes of a value


@dataclass(frozen=True)
class Shape:
    """A canvas and its meaning."""

    text: str
    canvas: BoundSignature[Any]
    apply: Callable[[object], object]

    def __repr__(self) -> str:
        return self.text


def _inc(by: int) -> Shape:
    return Shape(f"inc({by})", inc.s(by), lambda value: inc(value, by))


TOTAL = Shape("total", total.s(), lambda value: total(value))


def _chain(steps: list[Shape]) -> Shape:
    def apply(value: object) -> object:
        for step in steps:
            value = step.apply(value)
        return value

    return Shape(f"chain{steps}", chain(*[step.canvas for step in steps]), apply)


def _group(members: list[Shape]) -> Shape:
    return Shape(
        f"group{members}",
        group([member.canvas for member in members]),
        lambda value: [member.apply(value) for member in members],
    )


def _chord(members: list[Shape], body: Shape) -> Shape:
    return Shape(
        f"chord({members}, {body})",
        chord([member.canvas for member in members], body.canvas),
        lambda value: body.apply([member.apply(value) for member in members]),
    )


leaves = st.integers(1, 9).map(_inc) | st.just(TOTAL)
shapes = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(_chain)
        | st.lists(inner, min_size=1, max_size=3).map(_group)
        | st.builds(_chord, st.lists(inner, max_size=3), inner)
    ),
    max_leaves=8,
)


@given(shapes, st.integers(0, 100))
def test_any_canvas_gives_what_plain_python_gives(shape: Shape, value: int) -> None:
    assert shape.canvas.delay(value).get(timeout=5) == shape.apply(value)


@given(shapes, st.integers(0, 100))
def test_any_canvas_gives_the_same_where_every_step_waits_in_a_queue(shape: Shape, value: int) -> None:
    form = shape.canvas.to_json()
    with parking.eager():
        assert signature(form, app=parking).delay(value).get(timeout=5) == shape.apply(value)


def test_a_chord_hears_of_a_chain_that_breaks_before_what_waits_in_a_queue() -> None:
    broken = chain(signature("inc"), signature("fail"), signature("inc"), signature("inc"))
    with parking.eager(), pytest.raises(ChordError, match="no luck"):
        signature(chord([broken, signature("inc")], signature("total")), app=parking).delay(1).get(timeout=5)


@pytest.mark.parametrize("shape", ["plain", "wide"])
def test_no_message_of_a_long_chain_is_larger_than_the_bound(shape: str) -> None:
    steps: list[BoundSignature[Any]] = [signature("inc") for _ in range(1000)]
    if shape == "wide":
        steps = [*steps[:500], group(signature("inc") for _ in range(20)), *steps[500:]]
    frozen = freeze(chain(steps), _ids()).signature
    sent = list(parked(plan(frozen, (1,)), 4096))
    bodies = [step.signature.to_json() if isinstance(step, Call) else step.body.to_json() for step in sent]
    assert max(len(json.dumps(body)) for body in bodies) < 2 * 4096
    # What is sent first comes last, when all that follows it is kept.
    assert [isinstance(step, Call) for step in sent] == [False] * (len(sent) - 1) + [True]
    assert len(sent) > 20


@given(shapes)
def test_any_canvas_survives_its_json_form(shape: Shape) -> None:
    form: Any = extended_json.loads(extended_json.dumps(shape.canvas.to_json()))

    assert signature(form, app=app).delay(1).get(timeout=5) == shape.apply(1)


@given(shapes)
def test_what_is_frozen_keeps_its_ids(shape: Shape) -> None:
    once = freeze(shape.canvas, _ids())

    assert freeze(once.signature, _ids("other")).ref == once.ref


# What is sent


def test_a_chain_sends_its_first_step_with_the_rest_in_reverse() -> None:
    (first,) = sent(chain(inc.s(1), inc.s(2), inc.s(3)))

    assert isinstance(first, Call)
    options = first.signature.options
    assert (options["task_id"], options["root_id"], options["parent_id"]) == ("1", "1", None)
    rest = [Signature.from_json(form) for form in options["chain"]]  # type: ignore[attr-defined]
    assert [(step.args, step.options["task_id"]) for step in rest] == [((3,), "3"), ((2,), "2")]


def test_members_of_a_group_know_it_and_their_place() -> None:
    steps = sent(group(inc.s(1, 1), inc.s(2, 1)))

    places = [(s.signature.options["group_id"], s.signature.options["group_index"]) for s in steps]  # type: ignore[union-attr]
    assert places == [("1", 0), ("1", 1)]


def test_a_chord_is_opened_before_its_members_which_carry_only_a_reference() -> None:
    opening, *members = sent(chord([inc.s(n, 1) for n in range(3)], total.s() | inc.s(list(range(1000)))))

    assert isinstance(opening, Join)
    assert opening.size == 3
    assert all(isinstance(member, Call) for member in members)
    sizes = [len(extended_json.dumps(member.signature.to_json())) for member in members]  # type: ignore[union-attr]
    assert max(sizes) < 1000


def test_a_group_that_something_follows_is_a_chord() -> None:
    opening, *_ = sent(group(inc.s(1, 1), inc.s(2, 2)) | total.s())

    assert isinstance(opening, Join)
    assert opening.body.task == "total"


def test_of_a_chain_the_last_step_is_the_member() -> None:
    _, member = sent(chord([inc.s(1, 1) | inc.s(1) | inc.s(2)], total.s()))

    assert isinstance(member, Call)
    assert "chord" not in member.signature.options
    found = membership(member.signature)
    assert found is not None
    assert found.args == (2,)


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="a step"):
        chain([])


# Eagerly


def test_callbacks_errbacks_and_chord_errors_are_called_once() -> None:
    assert inc.s(1, 1).link(hear.s()).delay().get() == 2
    failed = chord([inc.s(1, 1), fail.s(1)], total.s().on_error(hear.s())).delay()
    with pytest.raises(ChordError, match=r"fail\[.*no luck"):
        failed.get()

    assert heard == [2, failed.id]


def test_a_long_chain_is_no_deep_stack() -> None:
    long = chain(inc.s(0), *[inc.s() for _ in range(300)])

    assert long.delay().get() == 301


def test_a_link_error_of_a_chain_is_for_each_step() -> None:
    result = chain(inc.s(1, 1), fail.s(), inc.s()).on_error(hear.s()).delay()
    with pytest.raises(ValueError, match="no luck"):
        result.get()

    assert heard == [result.parent.id]


def sent(canvas: Signature) -> list[Step]:
    return list(plan(freeze(canvas, _ids()).signature))


def _ids(prefix: str = "") -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


@app.task(name="again", bind=True)
def again(self: Any, value: int) -> None:
    heard.append(value)
    self.replace(again.s(value + 1))


def test_a_task_that_replaces_itself_for_ever_is_stopped_by_a_clear_error() -> None:
    with pytest.raises(TaskError, match=r"again.* has been replaced 1000 times in a row"):
        again.apply_async((0,), replaced_task_nesting=MOST_REPLACED - 3).get(timeout=5)
    assert heard == [0, 1, 2, 3]


def test_the_children_of_a_step_are_what_follows_it() -> None:
    last = chain(inc.s(1).link(inc.s(5)), inc.s(), group(inc.s(), inc.s()), total.s()).delay()
    assert last.get(timeout=5) == 8
    header = last.parent
    first = header.parent.parent

    linked, second = first.children
    assert linked.get(timeout=5) == 7
    assert second == header.parent
    (body,) = second.children
    assert body == last
    assert [value for _, value in first.collect(timeout=5)] == [2, 7, 3, 8]
