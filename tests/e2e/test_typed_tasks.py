"""Tasks whose arguments and results are pydantic models and dataclasses, through a real worker."""

from collections.abc import Callable

import pytest

from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    from dataclasses import dataclass
    from decimal import Decimal

    from pydantic import BaseModel

    class Order(BaseModel):
        sku: str
        price: Decimal
        amount: int = 1

    @dataclass
    class Bill:
        total: Decimal
        orders: list[Order]

    @app.task
    def bill(orders: list[Order], *, discount: Decimal = Decimal(0)) -> Bill:
        return Bill(sum(order.price * order.amount for order in orders) - discount, orders)

    @app.task
    async def double(order: Order) -> Order:
        return order.model_copy(update={"amount": order.amount * 2})

    @app.task
    def cheat(order: Order) -> Order:
        return {"sku": order.sku}

    @app.task
    def untyped(order):
        return type(order).__name__, order["price"]

    book = Order(sku="book", price="9.90")
    """

CHECKS = """
from decimal import Decimal
import tasks
from amqtask import chain, chord, group
from amqtask.errors import WrongArguments, WrongResult

bill = tasks.bill.delay([tasks.book, {"sku": "pen", "price": 1}], discount=0)
assert bill.get(timeout=60) == tasks.Bill(Decimal("10.90"), [tasks.book, tasks.Order(sku="pen", price=1)]), bill
assert tasks.double.delay(tasks.book).get(timeout=60).amount == 2

chained = chain(tasks.double.s(tasks.book), tasks.double.s()).apply_async()
assert chained.get(timeout=60) == tasks.Order(sku="book", price="9.90", amount=4), chained.get()
joined = chord([tasks.double.s(tasks.book), tasks.double.s(tasks.book)], tasks.bill.s()).apply_async()
assert joined.get(timeout=60).total == Decimal("39.60"), joined.get()
assert tasks.untyped.delay(tasks.book).get(timeout=60) == ["dict", "9.90"]

try:
    tasks.double.delay({"sku": "book"})
except WrongArguments as error:
    print("here:", error)
try:
    app_by_name = tasks.app.send_task("tasks.double", [{"sku": "book"}])
    app_by_name.get(timeout=60)
except WrongArguments as error:
    print("there:", error)
try:
    tasks.cheat.delay(tasks.book).get(timeout=60)
except WrongResult as error:
    print("result:", error)
"""


@pytest.mark.parametrize("pool", ["processes", "asyncio"])
def test_models_and_dataclasses_go_to_a_worker_and_come_back(scratch: MakeScratch, pool: str) -> None:
    app = scratch(TASKS)
    with app.worker("-P", pool, "-c", "1"):
        told = app.python(CHECKS).splitlines()
    assert told == [
        "here: tasks.double: argument order: price: Field required",
        "there: tasks.double: argument order: price: Field required",
        "result: tasks.cheat: its result: price: Field required",
    ]


def test_eager_mode_checks_them_as_a_worker_does(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    assert len(app.python("import tasks\nwith tasks.app.eager():\n" + indented(CHECKS)).splitlines()) == 3


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())
