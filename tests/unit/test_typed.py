"""Typed arguments and results: what travels, what arrives, and what is refused."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from amqtask.core.serialize import DEFAULT_SERIALIZERS
from amqtask.errors import Unserializable, WrongAnnotation, WrongArguments, WrongResult
from amqtask.typed import Typed, typed_of

T = TypeVar("T")


class Line(BaseModel):
    sku: str
    price: Decimal
    amount: int = 1


class Order(BaseModel):
    id: UUID
    placed: datetime
    lines: list[Line] = Field(default_factory=list, alias="items")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    when: datetime
    raw: bytes


@dataclass
class Point:
    x: float
    y: float
    tags: list[str] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]


class Colour(enum.Enum):
    RED = "red"


ORDER = Order(
    id=UUID(int=7), placed=datetime(2026, 3, 1, tzinfo=UTC), items=[Line(sku="book", price=Decimal("9.90"), amount=2)]
)


def typed(function: Callable[..., object], *, bind: bool = False, pydantic: bool | None = None) -> Typed:
    found = typed_of("t", function, bind=bind, pydantic=pydantic)
    assert found is not None
    return found


def through_json(value: object) -> Any:
    encoded = DEFAULT_SERIALIZERS.encode(value, "json")
    return DEFAULT_SERIALIZERS.decode(encoded.body, encoded.content_type, encoded.content_encoding, ["json"])


def arrives(of: Typed, *args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    sent, named = of.plain(args, kwargs)
    return of.objects(through_json(sent), through_json(named))


def bill(order: Order, /, at: Point, *more: Line, note: str = "", **others: Point) -> Order: ...


def test_models_and_dataclasses_arrive_as_such_wherever_they_stand() -> None:
    line = ORDER.lines[0]

    args, kwargs = arrives(typed(bill), ORDER, Point(1, 2, ["a"]), line, line, note="n", home=Point(3, 4))

    assert args == (ORDER, Point(1, 2, ["a"]), line, line)
    assert kwargs == {"note": "n", "home": Point(3, 4)}
    assert arrives(typed(bill), ORDER, at=Point(1, 2)) == ((ORDER,), {"at": Point(1, 2)})


def test_what_travels_is_plain_and_named_by_aliases() -> None:
    args, _ = typed(bill).plain((ORDER, Point(1, 2)), {})

    assert args == (
        {
            "id": "00000000-0000-0000-0000-000000000007",
            "placed": "2026-03-01T00:00:00Z",
            "items": [{"sku": "book", "price": "9.90", "amount": 2}],
        },
        {"x": 1.0, "y": 2.0, "tags": []},
    )


def test_plain_data_is_taken_where_it_fits() -> None:
    args, _ = arrives(typed(bill), {"id": str(UUID(int=1)), "placed": "2026-03-01T00:00:00Z"}, {"x": "1", "y": 2})

    assert args == (Order(id=UUID(int=1), placed=datetime(2026, 3, 1, tzinfo=UTC)), Point(1.0, 2.0))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (list[Line], [ORDER.lines[0]]),
        (dict[str, Point], {"a": Point(1, 2)}),
        (Point | None, None),
        (Annotated[Point | None, "a note"], Point(0, 0)),
        (Page[Line], Page([ORDER.lines[0]])),
        (tuple[Point, Colour], (Point(1, 1), Colour.RED)),
        (Strict, Strict(when=datetime(2026, 3, 1, tzinfo=UTC), raw=b"abc")),
    ],
)
def test_they_may_be_part_of_an_annotation(hint: object, value: object) -> None:
    def task(value: object) -> None: ...

    task.__annotations__["value"] = hint
    assert arrives(typed(task), value) == ((value,), {})


def test_what_has_no_model_in_it_is_left_alone() -> None:
    def plain(count: int, when: datetime, names: list[str]) -> dict[str, int]: ...

    def one(count: int, at: Point) -> int: ...

    assert typed_of("t", plain, bind=False, pydantic=None) is None
    assert typed(one).plain(("seven", Point(1, 2)), {})[0][0] == "seven"
    assert typed(one).plain_result("no int") == "no int"


def test_all_annotations_count_where_the_task_says_so_and_none_where_it_says_no() -> None:
    def task(count: int, colour: Colour, free=None) -> int: ...  # type: ignore[no-untyped-def]

    every = typed(task, pydantic=True)

    assert arrives(every, "7", Colour.RED, free="x") == ((7, Colour.RED), {"free": "x"})
    assert every.plain((), {"colour": Colour.RED}) == ((), {"colour": "red"})
    assert every.result(every.plain_result("8")) == 8
    assert typed_of("t", bill, bind=False, pydantic=False) is None


def test_a_bound_tasks_first_argument_is_the_task() -> None:
    def task(self: object, at: Point) -> None: ...

    assert arrives(typed(task, bind=True), Point(1, 2)) == ((Point(1, 2),), {})


def test_what_does_not_fit_is_told_with_its_place() -> None:
    wrong = {"id": "x", "placed": "2026-03-01T00:00:00Z", "items": [{"sku": 5, "price": "9"}]}

    with pytest.raises(WrongArguments) as caught:
        typed(bill).plain((wrong, Point(1, 2)), {})

    text = str(caught.value)
    assert text.startswith("t: argument order: id: Input should be a valid UUID")
    assert "items.0.sku: Input should be a valid string (got 5)" in text
    with pytest.raises(WrongArguments, match=r"^t: argument at: y: Field required$"):
        typed(bill).objects(({"id": str(UUID(int=1)), "placed": 0}, {"x": 1}), {})
    with pytest.raises(WrongArguments, match="argument others: x: "):
        typed(bill).plain((), {"home": Point("far", 1)})  # type: ignore[arg-type]  # a dataclass does not check
    with pytest.raises(WrongArguments, match=r"and 3 more$"):
        typed(bill).plain((), {"at": {"x": "a", "y": "b", "tags": list(range(6))}})


def test_a_result_is_checked_where_it_is_made_and_where_it_is_had() -> None:
    checks = typed(bill)

    assert checks.result(through_json(checks.plain_result(ORDER))) == ORDER
    with pytest.raises(WrongResult, match="t: its result: Input should be"):
        checks.plain_result(None)
    with pytest.raises(WrongResult, match="t: its result: id: Field required"):
        checks.result({"placed": 0})


def test_an_annotation_that_names_nothing_here_is_passed_by_unless_all_are_wanted() -> None:
    def task(a: "Missing", at: Point) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert arrives(typed(task), 1, Point(1, 2)) == ((1, Point(1, 2)), {})
    with pytest.raises(WrongAnnotation, match=r"^t: the annotation 'Missing' of a cannot be resolved: name 'Missing'"):
        typed_of("t", task, bind=False, pydantic=True)


def test_an_annotation_that_pydantic_cannot_check_is_named() -> None:
    class Opaque: ...

    def task(a: Opaque) -> None: ...

    with pytest.raises(WrongAnnotation, match="t: argument a: pydantic cannot check this annotation"):
        typed(task, pydantic=True)


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_records_have_a_form_in_any_argument(serializer: str) -> None:
    encoded = DEFAULT_SERIALIZERS.encode({"order": ORDER, "at": [Page([Point(1, 2)])]}, serializer)

    back = DEFAULT_SERIALIZERS.decode(encoded.body, encoded.content_type, encoded.content_encoding, [serializer])

    assert isinstance(back, Mapping)
    assert Order.model_validate(back["order"]) == ORDER
    assert back["at"] == [{"items": [{"x": 1.0, "y": 2.0, "tags": []}]}]


@pytest.mark.parametrize("value", [Point, Order, object()])
@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_classes_and_other_objects_have_none(value: object, serializer: str) -> None:
    with pytest.raises(Unserializable, match=r"as (json|msgpack): its type is"):
        DEFAULT_SERIALIZERS.encode([value], serializer)


@given(
    st.builds(
        Point,
        x=st.floats(allow_nan=False, allow_infinity=False),
        y=st.integers(-(2**53), 2**53).map(float),
        tags=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    )
)
def test_any_dataclass_arrives_as_it_was(point: Point) -> None:
    assert arrives(typed(bill), ORDER, point)[0][1] == point
