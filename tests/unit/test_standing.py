"""Standing orders: the last one of a key counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core import standing
from amqtask.core.standing import Order, Standing, orders, texts


def apply(held: Standing, method: str, at: float = 0.0, **arguments: object) -> None:
    for key, order in orders(method, arguments, at):  # type: ignore[arg-type]
        held.put(key, order)


def test_the_last_order_of_a_key_counts() -> None:
    held = Standing()
    apply(held, "rate_limit", task_name="a", rate_limit="1/s")
    apply(held, "rate_limit", task_name="b", rate_limit="2/s")
    apply(held, "rate_limit", task_name="a", rate_limit="3/s")

    found = {key: order.arguments["rate_limit"] for key, order in held.items(0.0)}

    assert found == {"rate_limit:a": "3/s", "rate_limit:b": "2/s"}


def test_resume_takes_away_what_pause_set() -> None:
    held = Standing()
    apply(held, "pause", queue="lo")
    assert [key for key, _ in held.items(0.0)] == ["pause:lo"]

    apply(held, "resume", queue="lo")

    assert held.items(0.0) == []


def test_a_consumer_is_added_or_cancelled_not_both() -> None:
    held = Standing()
    apply(held, "add_consumer", queue="q")
    apply(held, "cancel_consumer", queue="q")

    assert [order.method for _, order in held.items(0.0)] == ["cancel_consumer"]


def test_each_revoked_id_and_each_stamp_is_an_order() -> None:
    keys = [key for key, _ in orders("revoke", {"task_id": ["a", "b"]}, 0.0)]
    stamped = [key for key, _ in orders("revoke_by_stamped_headers", {"headers": {"run": ["1", "2"]}}, 0.0)]

    assert keys == ["revoke:a", "revoke:b"]
    assert stamped == ["stamped:run=1", "stamped:run=2"]


def test_old_revokes_are_forgotten_and_other_orders_are_not() -> None:
    held = Standing()
    apply(held, "revoke", task_id="a", at=0.0)
    apply(held, "pause", queue="q", at=0.0)

    assert [key for key, _ in held.items(standing.REVOKE_FOR + 1)] == ["pause:q"]


def test_the_oldest_revokes_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST_REVOKED", 3)
    held = Standing()
    apply(held, "pause", queue="q")
    for number in range(5):
        apply(held, "revoke", task_id=str(number))

    assert [key for key, _ in held.items(0.0)] == ["pause:q", "revoke:2", "revoke:3", "revoke:4"]


@given(st.lists(st.tuples(st.sampled_from(["pause", "resume"]), st.sampled_from("abc"))))
def test_what_holds_is_what_was_said_last_of_each(said: list[tuple[str, str]]) -> None:
    held = Standing()
    for method, queue in said:
        apply(held, method, queue=queue)

    last = {queue: method for method, queue in said}
    assert {key for key, _ in held.items(0.0)} == {f"pause:{queue}" for queue, m in last.items() if m == "pause"}


def test_an_order_is_the_same_after_json() -> None:
    order = Order("pause", {"queue": "q"}, 12.5)

    assert Order.from_json(order.to_json()) == order


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(ValueError, match="not an order"):
        Order.from_json({"method": "pause"})


def test_one_or_many_texts_are_a_list() -> None:
    assert (texts(None), texts("a"), texts(["a", 1]), texts(5)) == ([], ["a"], ["a", "1"], ["5"])


def test_a_workflow_is_revoked_by_its_root_and_forgotten_like_other_revokes() -> None:
    held = Standing()
    apply(held, "revoke_root", root_id=["a", "b"], at=0.0)

    assert [key for key, _ in held.items(0.0)] == ["root:a", "root:b"]
    assert held.items(standing.REVOKE_FOR + 1) == []
