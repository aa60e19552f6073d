"""Stamps: which tasks of a canvas get which, and that they arrive."""

from collections.abc import Iterator

import pytest

from amqtask import App, Signature, StampingVisitor, Task, chain, chord, group, signature
from amqtask.core.canvas import freeze
from amqtask.core.plan import root_of
from amqtask.launch import calls_in

app = App("stamps", config={"queues": {"work": {}}, "tasks": {"default_queue": "work"}})
seen: list[tuple[str, object]] = []


@app.task(name="see", bind=True)
def see(self: Task[..., object], *args: object) -> str:
    seen.append((str(args[-1]), self.request.stamps))
    return "value"


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    seen.clear()
    with app.eager():
        yield


class Walk(StampingVisitor):
    """Stamps each place by its name, and notes the order."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def on_signature(self, sig: Signature, /, **headers: object) -> dict[str, object]:
        self.order.append(sig.task)
        return {"call": sig.task, "stamped_headers": ["call"], "of_no_use": 1}

    def on_chain_start(self, chain: Signature, /, **headers: object) -> dict[str, object]:
        self.order.append("chain")
        return {"chain": True}

    def on_chain_end(self, chain: Signature, /, **headers: object) -> None:
        self.order.append("chain end")

    def on_group_start(self, group: Signature, /, **headers: object) -> dict[str, object]:
        self.order.append("group")
        return {"group": True}

    def on_chord_header_start(self, chord: Signature, /, **headers: object) -> dict[str, object]:
        self.order.append("header")
        return {"header": True}

    def on_chord_body(self, chord: Signature, /, **headers: object) -> dict[str, object]:
        self.order.append("body")
        return {"body": True}

    def on_callback(self, callback: Signature, /, **headers: object) -> dict[str, object]:
        return {"callback": True}

    def on_errback(self, errback: Signature, /, **headers: object) -> dict[str, object]:
        return {"errback": True}


def stamps(call: Signature) -> dict[str, object]:
    names = call.options.get("stamped_headers", [])
    assert isinstance(names, list)
    return {name: call.options[name] for name in names}


def test_each_task_has_the_stamps_of_all_that_it_is_in() -> None:
    walk = Walk()
    canvas = chain(signature("a"), chord([signature("b"), group(signature("c"))], signature("d")))
    marked = canvas.stamp(walk, run=7)
    found = {call.task: stamps(call) for call in calls_in(freeze(marked, iter("123456789").__next__).signature)}

    every = {"run": 7, "chain": True}
    assert found["a"] == {**every, "call": "a"}
    assert found["b"] == {**every, "header": True, "call": "b"}
    assert found["c"] == {**every, "header": True, "group": True, "call": "c"}
    assert found["d"] == {**every, "body": True, "call": "d"}
    assert walk.order == ["chain", "a", "header", "b", "group", "c", "body", "d", "chain end"]
    assert root_of(freeze(canvas, iter("123456789").__next__).signature) == "1"


def test_callbacks_and_errbacks_are_stamped() -> None:
    marked = signature("a").link(signature("b")).link_error(signature("c")).stamp(Walk())

    assert [stamps(one) for one in marked.callbacks] == [{"callback": True, "call": "b"}]
    assert [stamps(one) for one in marked.errbacks] == [{"errback": True, "call": "c"}]


def test_a_later_stamp_counts_or_is_added() -> None:
    once = signature("a").stamp(run=1, stage="test")

    assert stamps(once.stamp(run=2)) == {"run": 2, "stage": "test"}
    assert stamps(once.stamp(run=2, append_stamps=True)) == {"run": [1, 2], "stage": "test"}
    assert stamps(once) == {"run": 1, "stage": "test"}


def test_stamps_arrive_at_the_tasks_of_a_chain_and_at_callbacks() -> None:
    (see.s("first") | see.si("second")).stamp(run="7").delay().get(timeout=5)
    see.s("alone").link(see.si("linked")).stamp(run="8").delay().get(timeout=5)

    assert seen == [(name, {"run": "7"}) for name in ("first", "second")] + [
        (name, {"run": "8"}) for name in ("alone", "linked")
    ]
